-- Pauses leasing for every master, or resumes it.
--
-- ARGV 1  pause or resume
-- ARGV 2  length of the pause in µs; '' for no end
-- reply   pause: the time of its end, 0 for none; resume: 1 when there was a pause, else 0
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
-- Needed for a pause, too: waiting masters must learn its end.
wake()
return reply
