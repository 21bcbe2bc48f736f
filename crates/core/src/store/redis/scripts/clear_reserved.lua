-- Removes jobs an owner holds: their settlements will answer CLEARED.
--
-- KEYS 16  the owner's reserved set
-- ARGV 1   how many ids
-- ARGV 2.. the ids; then pairs of id and unique key to free
-- reply    how many jobs were removed; ids that are no longer in the set are passed over
-- order    count, records, unique keys, SREM
local count, ids = tonumber(ARGV[1]), {}
for n = 2, 1 + count do
  if redis.call('SISMEMBER', KEYS[OWN], ARGV[n]) == 1 then
    ids[#ids + 1] = ARGV[n]
  end
end
if #ids == 0 then
  return 0
end
redis.call('HINCRBY', STATS, 'cleared', #ids)
local removed = redis.call('HDEL', RECORDS, unpack(ids))
if removed < #ids then
  redis.call('HINCRBY', STATS, 'cleared', removed - #ids)
end
for n = 2 + count, #ARGV, 2 do
  free(ARGV[n + 1], ARGV[n])
end
redis.call('SREM', KEYS[OWN], unpack(ids))
return removed
