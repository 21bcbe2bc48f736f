-- Records the limit of waiting and delayed jobs, for producers that do not read the configuration (producer.lua).
--
-- ARGV 1  the limit; '' for none
-- reply   1
if ARGV[1] == '' then
  redis.call('HDEL', STATS, 'max_waiting')
elseif redis.call('HGET', STATS, 'max_waiting') ~= ARGV[1] then
  if not schema then
    redis.call('SET', SCHEMA, '1')
  end
  redis.call('HSET', STATS, 'max_waiting', ARGV[1])
end
return 1
