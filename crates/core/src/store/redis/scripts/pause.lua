-- Pauses leasing for every master, or ends the pause.
--
-- ARGV 1  pause or resume
-- ARGV 2  how long to pause, in µs; '' until somebody ends it
-- reply   pause: when it will end, 0 for never; resume: 1 when there was a pause in force, else 0
local reply = 0
if ARGV[1] == 'pause' then
  if ARGV[2] ~= '' then
    reply = now() + tonumber(ARGV[2])
  end
  redis.call('HSET', STATS, 'paused', reply == 0 and '1' or text(reply))
else
  reply = pause(redis.call('HGET', STATS, 'paused'), now()) and 1 or 0
  redis.call('HDEL', STATS, 'paused')
end
-- Also for a pause: whoever waits has to know when it ends.
wake()
return reply
