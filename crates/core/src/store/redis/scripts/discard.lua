-- Removes jobs that are waiting, delayed or failed.
--
-- KEYS 16.., ARGV 1..  all owners: see lib/all_owners.lua; the last key: the outputs
-- ARGV FIRST ..        per job: id, unique key ('' for none); no id twice
-- reply                {'OWNERS', names}, or the number of removed jobs; reserved jobs, and those that a clear removes, are skipped
-- order                counts, records, outputs, unique keys, places. A waiting id stays in its list as a tombstone.
local ids, keys, delayed, failed = {}, {}, {}, {}
for n = FIRST, #ARGV, 2 do
  local id = ARGV[n]
  local state = redis.call('HEXISTS', RECORDS, id) == 1 and place(id) or 'reserved'
  if state ~= 'reserved' then
    ids[#ids + 1], keys[#keys + 1] = id, ARGV[n + 1]
    if state == 'delayed' then
      delayed[#delayed + 1] = id
    elseif state == 'failed' then
      failed[#failed + 1] = id
    end
  end
end
if #ids == 0 then
  return 0
end
count_bytes(-bytes_of(RECORDS, ids) - bytes_of(KEYS[#KEYS], ids))
redis.call('HINCRBY', STATS, 'cleared', #ids)
redis.call('HINCRBY', STATS, 'tombstones', #ids - #delayed - #failed)
redis.call('HDEL', RECORDS, unpack(ids))
redis.call('HDEL', KEYS[#KEYS], unpack(ids))
for n = 1, #ids do
  free(keys[n], ids[n])
end
if #delayed > 0 then
  redis.call('ZREM', DELAYED, unpack(delayed))
end
if #failed > 0 then
  redis.call('ZREM', FAILED, unpack(failed))
end
return #ids
