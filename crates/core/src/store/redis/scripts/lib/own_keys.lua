-- Fragment, after lib/channel_keys.lua: checks the types of KEYS 16 and on by their names: reserved sets of owners, the hash
-- of outputs, and strings of timed holds and rates. The summaries have another prefix, and their script checks them.
local PREFIX = string.sub(SCHEMA, 1, -7)
for i = OWN, #KEYS do
  local set = string.find(KEYS[i], 'reserved:', #SCHEMA - 5, true) == #SCHEMA - 5
  local hash = string.sub(KEYS[i], #SCHEMA - 5) == 'outputs'
  local kind, wanted = redis.call('TYPE', KEYS[i]).ok, set and 'set' or hash and 'hash' or 'string'
  if kind ~= wanted and kind ~= 'none' and string.sub(KEYS[i], 1, #PREFIX) == PREFIX then
    return redis.error_reply('AINTKEY ' .. KEYS[i] .. ' is a ' .. kind .. ' where a ' .. wanted .. ' belongs')
  end
end
