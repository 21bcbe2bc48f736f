-- Fragment, after lib/channel_keys.lua: checks the types of KEYS 16 and on by their names: reserved sets of owners, the hash
-- of outputs, the two keys of kept jobs, and strings of timed holds and rates. The summaries have another prefix, and their
-- script checks them.
local PREFIX = string.sub(SCHEMA, 1, -7)
local TYPES = { outputs = 'hash', kept = 'zset', ['kept:texts'] = 'hash' }
for i = OWN, #KEYS do
  local name = string.sub(KEYS[i], #PREFIX + 1)
  local set = string.sub(name, 1, 9) == 'reserved:'
  local kind, wanted = redis.call('TYPE', KEYS[i]).ok, set and 'set' or TYPES[name] or 'string'
  if kind ~= wanted and kind ~= 'none' and string.sub(KEYS[i], 1, #PREFIX) == PREFIX then
    return redis.error_reply('AINTKEY ' .. KEYS[i] .. ' is a ' .. kind .. ' where a ' .. wanted .. ' belongs')
  end
end
