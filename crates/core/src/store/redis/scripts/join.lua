-- Creates an owner.
--
-- ARGV 1  its name, never used before
-- ARGV 2  lease in µs
-- reply   1
raise_layout('1')
redis.call('HSET', SEQS, ARGV[1], '0')
redis.call('ZADD', OWNERS, text(now() + tonumber(ARGV[2])), ARGV[1])
return 1
