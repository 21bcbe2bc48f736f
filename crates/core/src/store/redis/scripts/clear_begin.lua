-- Renames whole states in one step: present jobs will be removed, later ones will not.
--
-- KEYS 16-20  new names of waiting, waiting:high, waiting:low, delayed and failed, never used before
-- ARGV 1-5    '1' for each state to clear, else ''
-- ARGV 6-10   the names of KEYS 16-20 in clearing; each begins with its state
-- reply       all names in clearing, those of an interrupted clear included
-- order       name and count are recorded before the key is renamed
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
