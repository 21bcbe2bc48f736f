-- Pauses leasing for every master, or ends the pause.
--
-- ARGV 1  '1' or ''
-- reply   1
if ARGV[1] == '1' then
  redis.call('HSET', STATS, 'paused', '1')
else
  redis.call('HDEL', STATS, 'paused')
  wake()
end
return 1
