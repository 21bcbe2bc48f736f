-- The first ids of what a clear has put aside.
--
-- KEYS 16  the list or zset
-- ARGV 1   its state      ARGV 2  how many
-- reply    ids
local last = tonumber(ARGV[2]) - 1
return redis.call(ARGV[1] == 'waiting' and 'LRANGE' or 'ZRANGE', KEYS[OWN], 0, last)
