-- Removes kept done jobs above the limits that the last settlement of one has recorded.
--
-- KEYS 16  kept    KEYS 17  kept:texts: see lib/kept_jobs.lua
-- reply    {number of removed jobs, at most 500; number of jobs that are left}
-- order    texts, then ids: an error leaves ids without a text, which no list shows
return { trim_kept(KEYS[OWN], KEYS[OWN + 1], now()) }
