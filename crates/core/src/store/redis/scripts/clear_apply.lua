-- Removes jobs that a clear has put aside.
--
-- KEYS 16  the list or zset
-- ARGV 1   its name in clearing      ARGV 2  its state      ARGV 3  how many ids
-- ARGV 4.. the ids, as clear_peek.lua answered them; then pairs of id and unique key to free
-- reply    how many jobs were removed; -1 when somebody else removed these ids meanwhile
-- order    count, records, unique keys, then the ids themselves; tombstones are not counted
local name, state, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
local list = state == 'waiting'
local ids = redis.call(list and 'LRANGE' or 'ZRANGE', KEYS[OWN], 0, count - 1)
for n = 1, count do
  if ids[n] ~= ARGV[3 + n] then
    return -1
  end
end
local removed = 0
if count > 0 then
  redis.call('HINCRBY', STATS, 'cleared', count)
  removed = redis.call('HDEL', RECORDS, unpack(ids))
  if removed < count then
    redis.call('HINCRBY', STATS, 'cleared', removed - count)
  end
  for n = 4 + count, #ARGV, 2 do
    free(ARGV[n + 1], ARGV[n])
  end
  if removed < count then
    -- Records that went while their ids stood here were discarded, and counted as tombstones.
    discount_tombstones(count - removed)
  end
  if list then
    redis.call('LTRIM', KEYS[OWN], count, -1)
  else
    redis.call('ZREM', KEYS[OWN], unpack(ids))
  end
  redis.call('HINCRBY', STATS, 'clearing_' .. state, -count)
end
if redis.call('EXISTS', KEYS[OWN]) == 0 then
  redis.call('HDEL', CLEARING, name)
end
return removed
