-- Puts whole states aside, in one step: what is there now will be removed, what comes later will not.
--
-- KEYS 13-15  where waiting, delayed and failed go: names nobody used before
-- ARGV 1-3    '1' for each of waiting, delayed, failed that is to be emptied, else ''
-- ARGV 4      the fresh part of the names of KEYS 13-15
-- reply       the names of everything put aside and not yet removed, by this clear or by an interrupted one
-- order       the name is written down and the count taken before the key is renamed
local states, keys, sizes = { 'waiting', 'delayed', 'failed' }, { WAITING, DELAYED, FAILED }, { 'LLEN', 'ZCARD', 'ZCARD' }
for n = 1, 3 do
  if redis.call('EXISTS', KEYS[12 + n]) == 1 then
    return redis.error_reply('AINTKEY ' .. KEYS[12 + n] .. ' is there already')
  end
end
for n = 1, 3 do
  local size = ARGV[n] ~= '' and redis.call(sizes[n], keys[n]) or 0
  if size > 0 then
    redis.call('HSET', CLEARING, states[n] .. ':' .. ARGV[4], states[n])
    redis.call('HINCRBY', STATS, 'clearing_' .. states[n], size)
    redis.call('RENAME', keys[n], KEYS[12 + n])
  end
end
return redis.call('HKEYS', CLEARING)
