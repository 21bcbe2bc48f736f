-- The owners with their summaries, the longest lease first, at most 200.
--
-- KEYS 16  the summaries
-- reply    {now, then per owner: its name, the end of its lease, and '' or the time of its summary, a newline and the summary}
local SUMMARIES = KEYS[OWN]
local kind = redis.call('TYPE', SUMMARIES).ok
if kind ~= 'hash' and kind ~= 'none' then
  return redis.error_reply('AINTKEY ' .. SUMMARIES .. ' is a ' .. kind .. ' where a hash belongs')
end
local reply = { now() }
local owners = redis.call('ZREVRANGE', OWNERS, 0, 199, 'WITHSCORES')
for n = 1, #owners, 2 do
  reply[#reply + 1] = owners[n]
  reply[#reply + 1] = tonumber(owners[n + 1])
  reply[#reply + 1] = redis.call('HGET', SUMMARIES, owners[n]) or ''
end
return reply
