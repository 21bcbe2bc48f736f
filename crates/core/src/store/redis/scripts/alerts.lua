-- The records of alerts, for display.
--
-- KEYS 16  the alerts
-- reply    {now, {field and value of all}}
local ALERTS = KEYS[OWN]
local kind = redis.call('TYPE', ALERTS).ok
if kind ~= 'hash' and kind ~= 'none' then
  return redis.error_reply('AINTKEY ' .. ALERTS .. ' is a ' .. kind .. ' where a hash belongs')
end
local fields = {}
for _, field in ipairs(redis.call('HKEYS', ALERTS)) do
  fields[#fields + 1] = field
  fields[#fields + 1] = redis.call('HGET', ALERTS, field)
end
return { now(), fields }
