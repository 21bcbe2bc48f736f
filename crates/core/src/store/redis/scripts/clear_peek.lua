-- The first ids of a renamed list or zset.
--
-- KEYS 16  the list or zset
-- ARGV 1   its state      ARGV 2  number of ids
-- reply    ids
local last = tonumber(ARGV[2]) - 1
return redis.call(ARGV[1] == 'waiting' and 'LRANGE' or 'ZRANGE', KEYS[OWN], 0, last)
