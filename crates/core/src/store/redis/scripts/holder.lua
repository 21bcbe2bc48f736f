-- The job that holds a unique key.
--
-- KEYS 16  the channel's prefix, "unique:", the key
-- ARGV 1   the key
-- reply    the job's id; '' for a free key
return holder(ARGV[1], KEYS[OWN]) or ''
