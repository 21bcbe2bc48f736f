-- Moves failed jobs to the back of waiting with a new meta.
--
-- KEYS 16..  per job with a unique key, in order: the channel's prefix, "unique:", the key; then the outputs
-- ARGV       per job: id, unique key ('' for none), priority ('' for normal), meta
-- reply      number of moved jobs; jobs that are not failed are skipped
-- order      records, unique keys, RPUSH, ZREM, outputs
local ids, back, uniques, bytes = {}, { {}, {}, {} }, 0, 0
for n = 1, #ARGV, 4 do
  local id, key, place, meta = ARGV[n], ARGV[n + 1], PLACE[ARGV[n + 2]], ARGV[n + 3]
  uniques = uniques + (key ~= '' and 1 or 0)
  local record = redis.call('ZSCORE', FAILED, id) and redis.call('HGET', RECORDS, id)
  if record then
    local new = rewritten(record, meta)
    bytes = bytes + #new - #record
    redis.call('HSET', RECORDS, id, new)
    if key ~= '' and not holder(key, KEYS[OWN + uniques - 1]) then
      redis.call('HSET', UNIQUE, key, id)
    end
    ids[#ids + 1] = id
    back[place][#back[place] + 1] = id
  end
end
if #ids > 0 then
  count_bytes(bytes - bytes_of(KEYS[#KEYS], ids))
  put_at_back(back)
  redis.call('ZREM', FAILED, unpack(ids))
  redis.call('HDEL', KEYS[#KEYS], unpack(ids))
  wake()
end
return #ids
