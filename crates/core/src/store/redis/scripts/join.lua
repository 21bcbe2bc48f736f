-- Creates an owner.
--
-- ARGV 1  its name, never used before
-- ARGV 2  lease in µs
-- reply   1
if not schema then
  redis.call('SET', SCHEMA, '1')
end
redis.call('HSET', SEQS, ARGV[1], '0')
redis.call('ZADD', OWNERS, text(now() + tonumber(ARGV[2])), ARGV[1])
return 1
