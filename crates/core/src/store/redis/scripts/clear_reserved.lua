-- Removes jobs held by an owner: their settlements will return CLEARED.
--
-- KEYS 16  the owner's reserved set      KEYS 17  the outputs
-- ARGV 1   number of ids
-- ARGV 2.. the ids; then pairs of id and unique key to release
-- reply    {number of removed jobs, ids without a record, which are removed too}; ids no longer in the set are skipped
-- order    count, records, outputs, unique keys, SREM
local count, ids, missing = tonumber(ARGV[1]), {}, {}
for n = 2, 1 + count do
  if redis.call('SISMEMBER', KEYS[OWN], ARGV[n]) == 1 then
    ids[#ids + 1] = ARGV[n]
    if redis.call('HEXISTS', RECORDS, ARGV[n]) == 0 then
      missing[#missing + 1] = ARGV[n]
    end
  end
end
if #ids == 0 then
  return { 0, {} }
end
count_bytes(-bytes_of(RECORDS, ids) - bytes_of(KEYS[OWN + 1], ids))
redis.call('HINCRBY', STATS, 'cleared', #ids)
local removed = redis.call('HDEL', RECORDS, unpack(ids))
redis.call('HDEL', KEYS[OWN + 1], unpack(ids))
if removed < #ids then
  redis.call('HINCRBY', STATS, 'cleared', removed - #ids)
end
for n = 2 + count, #ARGV, 2 do
  free(ARGV[n + 1], ARGV[n])
end
redis.call('SREM', KEYS[OWN], unpack(ids))
return { removed, missing }
