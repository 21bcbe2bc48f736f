-- Puts whole states aside, in one step: what is there now will be removed, what comes later will not.
--
-- KEYS 16-20  where waiting, waiting:high, waiting:low, delayed and failed go: names nobody used before
-- ARGV 1-5    '1' for each of them that is to be emptied, else ''
-- ARGV 6-10   the names of KEYS 16-20 in clearing, which begin with the state
-- reply       the names of everything put aside and not yet removed, by this clear or by an interrupted one
-- order       the name is written down and the count taken before the key is renamed
local states = { 'waiting', 'waiting', 'waiting', 'delayed', 'failed' }
local keys = { WAITING, HIGH, LOW, DELAYED, FAILED }
for n = 1, 5 do
  local key = KEYS[OWN - 1 + n]
  if redis.call('EXISTS', key) == 1 then
    return redis.error_reply('AINTKEY ' .. key .. ' is there already')
  end
end
for n = 1, 5 do
  local size = ARGV[n] ~= '' and redis.call(states[n] == 'waiting' and 'LLEN' or 'ZCARD', keys[n]) or 0
  if size > 0 then
    redis.call('HSET', CLEARING, ARGV[5 + n], states[n])
    redis.call('HINCRBY', STATS, 'clearing_' .. states[n], size)
    redis.call('RENAME', keys[n], KEYS[OWN - 1 + n])
  end
end
return redis.call('HKEYS', CLEARING)
