-- Sets or ends the silence of a rule of alerts.
--
-- KEYS 16  the alerts
-- ARGV 1   the rule      ARGV 2  the time in µs, or '' to end the silence      ARGV 3  the comment
-- reply    the end of the silence, or now
local ALERTS, field = KEYS[OWN], 'silence:' .. ARGV[1]
local kind = redis.call('TYPE', ALERTS).ok
if kind ~= 'hash' and kind ~= 'none' then
  return redis.error_reply('AINTKEY ' .. ALERTS .. ' is a ' .. kind .. ' where a hash belongs')
end
local time = now()
if ARGV[2] == '' then
  redis.call('HDEL', ALERTS, field)
  return time
end
local till = time + tonumber(ARGV[2])
redis.call('HSET', ALERTS, field, text(till) .. '\n' .. ARGV[3])
return till
