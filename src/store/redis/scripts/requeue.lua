-- Moves failed jobs to the back of waiting with a new meta.
--
-- ARGV   per job: id, unique key ('' for none), meta
-- reply  how many moved; those that are not failed are passed over
-- order  records, unique keys, RPUSH, ZREM
local ids = {}
for n = 1, #ARGV, 3 do
  local id, key, meta = ARGV[n], ARGV[n + 1], ARGV[n + 2]
  local record = redis.call('ZSCORE', FAILED, id) and redis.call('HGET', RECORDS, id)
  if record then
    redis.call('HSET', RECORDS, id, rewritten(record, meta))
    if key ~= '' and not holder(key) then
      redis.call('HSET', UNIQUE, key, id)
    end
    ids[#ids + 1] = id
  end
end
if #ids > 0 then
  redis.call('RPUSH', WAITING, unpack(ids))
  redis.call('ZREM', FAILED, unpack(ids))
  wake()
end
return #ids
