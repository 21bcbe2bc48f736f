-- A look of a watcher of alerts: takes, renews or gives up the watch of the channel, keeps the report of the watcher, reads what
-- others have written. Removes silences and reports that are over.
--
-- KEYS 16  the alerts
-- ARGV 1   the watcher, without white space      ARGV 2  the lease in µs
-- ARGV 3   1 to take part, 0 to give up          ARGV 4  the report
-- ARGV 5   the new state, or '' for none
-- reply    {1 if the watcher holds the watch, 1 if it has taken it with this look, 1 if the state was saved,
--          the state or '', the number of masters that are alive, the counts as of status.lua, {field and value of the silences
--          and of the reports of others}}
local ALERTS, watcher, lease = KEYS[OWN], ARGV[1], tonumber(ARGV[2])
local kind = redis.call('TYPE', ALERTS).ok
if kind ~= 'hash' and kind ~= 'none' then
  return redis.error_reply('AINTKEY ' .. ALERTS .. ' is a ' .. kind .. ' where a hash belongs')
end
local time = now()
local holder, till = string.match(redis.call('HGET', ALERTS, 'lease') or '', '^(%S+) (%d+)$')
till = tonumber(till)
-- A lease that ends later than a new one would is from before the clock was set back.
local alive = till and till > time and till <= time + lease
local mine = alive and holder == watcher
local saved, taken, state = mine and ARGV[5] ~= '', false, ''
if saved then
  redis.call('HSET', ALERTS, 'state', ARGV[5])
end
local takes_part = ARGV[3] == '1'
local holds = takes_part and (mine or not alive)
if holds then
  redis.call('HSET', ALERTS, 'lease', watcher .. ' ' .. text(time + lease))
  taken = not mine
  state = taken and redis.call('HGET', ALERTS, 'state') or ''
elseif mine then
  redis.call('HDEL', ALERTS, 'lease')
end
local own = 'report:' .. watcher
if takes_part then
  redis.call('HSET', ALERTS, own, text(time) .. '\n' .. ARGV[4])
else
  redis.call('HDEL', ALERTS, own)
end
local others = {}
for _, field in ipairs(redis.call('HKEYS', ALERTS)) do
  local silence = string.sub(field, 1, 8) == 'silence:'
  local report = string.sub(field, 1, 7) == 'report:'
  if (silence or report) and field ~= own then
    local value = redis.call('HGET', ALERTS, field)
    local at = tonumber(string.match(value, '^(%d+)\n'))
    local current = at and at > (silence and time or time - lease) and (silence or at <= time + lease)
    if current then
      others[#others + 1] = field
      others[#others + 1] = value
    else
      redis.call('HDEL', ALERTS, field)
    end
  end
end
return { holds and 1 or 0, taken and 1 or 0, saved and 1 or 0, state, redis.call('ZCOUNT', OWNERS, '(' .. text(time), '+inf'),
  counts(), others }
