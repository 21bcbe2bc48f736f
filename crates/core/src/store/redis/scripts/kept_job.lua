-- A kept done job.
--
-- KEYS 16  kept    KEYS 17  kept:texts: see lib/kept_jobs.lua
-- ARGV 1   id
-- reply    {score, text}; {} for a job that is not kept, or is too old
local score = redis.call('ZSCORE', KEYS[OWN], ARGV[1])
local kept = score and redis.call('HGET', KEYS[OWN + 1], ARGV[1])
if not kept or tonumber(score) <= kept_since(KEYS[OWN + 1], now()) then
  return {}
end
return { score, kept }
