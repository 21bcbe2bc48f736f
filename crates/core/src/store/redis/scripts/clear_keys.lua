-- Removes some of the unique keys that clear_begin.lua has renamed.
--
-- KEYS 16  the renamed hash
-- ARGV 1   0, or the reply of the previous call
-- reply    the argument of the next call; 0 when none are left
local kind = redis.call('TYPE', KEYS[OWN]).ok
if kind ~= 'hash' and kind ~= 'none' then
  return redis.error_reply('AINTKEY ' .. KEYS[OWN] .. ' is a ' .. kind .. ' where a hash belongs')
end
local page = redis.call('HSCAN', KEYS[OWN], ARGV[1], 'COUNT', 500)
local keys = {}
for n = 1, #page[2], 2 do
  keys[#keys + 1] = page[2][n]
end
for n = 1, #keys, 500 do
  redis.call('HDEL', KEYS[OWN], unpack(keys, n, math.min(n + 499, #keys)))
end
return page[1]
