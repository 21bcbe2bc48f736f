-- Removes jobs of a renamed list or zset.
--
-- KEYS 16  the list or zset      KEYS 17  the outputs
-- ARGV 1   its name in clearing      ARGV 2  its state      ARGV 3  number of ids
-- ARGV 4.. the ids, as returned by clear_peek.lua; then pairs of id and unique key to release
-- reply    number of removed jobs and of entries that are no jobs; -1 when another clear has removed these ids
-- order    outputs, bytes, count, records, unique keys, then the ids; tombstones are not counted
local function lower(field, by)
  local counted = math.min(by, tonumber(redis.call('HGET', STATS, field)) or 0)
  if counted > 0 then
    redis.call('HINCRBY', STATS, field, text(-counted))
  end
end
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
  local bytes = bytes_of(RECORDS, ids) + bytes_of(KEYS[OWN + 1], ids)
  -- First, because an outputs key of a foreign type ends the script here, before any change.
  redis.call('HDEL', KEYS[OWN + 1], unpack(ids))
  count_bytes(-bytes)
  lower('clearing_bytes', bytes)
  redis.call('HINCRBY', STATS, 'cleared', count)
  removed = redis.call('HDEL', RECORDS, unpack(ids))
  for n = 4 + count, #ARGV, 2 do
    free(ARGV[n + 1], ARGV[n])
  end
  -- Entries of a list without records are tombstones, as many as were counted. Others are no jobs, and count as entries of the state,
  -- as they did before.
  local passed = list and removed < count and tonumber(redis.call('HGET', STATS, 'clearing_tombstones')) or 0
  passed = math.min(passed, count - removed)
  if passed > 0 then
    redis.call('HINCRBY', STATS, 'cleared', -passed)
    lower('tombstones', passed)
    lower('clearing_tombstones', passed)
  end
  removed = count - passed
  if list then
    redis.call('LTRIM', KEYS[OWN], count, -1)
  else
    redis.call('ZREM', KEYS[OWN], unpack(ids))
  end
  redis.call('HINCRBY', STATS, 'clearing_' .. state, -count)
end
if redis.call('EXISTS', KEYS[OWN]) == 0 then
  redis.call('HDEL', CLEARING, name)
  if redis.call('EXISTS', CLEARING) == 0 then
    redis.call('HDEL', STATS, 'clearing_tombstones', 'clearing_bytes')
  end
end
return removed
