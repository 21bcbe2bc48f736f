-- Gives jobs of an ended owner back: to the front of waiting, or to failed.
--
-- KEYS 13  its reserved set
-- ARGV 1   owner
-- ARGV 2.. per job, in the order they shall have in waiting: kind, id, unique key ('' for none), meta
--          kind is keep (front, record as it is), front, failed
-- reply    how many moved; ids that are no longer in the set are passed over
-- order    records, new places, unique keys, SREM; the owner's last trace goes with its last job
if not redis.call('ZSCORE', DEAD, ARGV[1]) then
  return 0
end
local time, front, failed, gone, freed = text(now()), {}, {}, {}, {}
for n = 2, #ARGV, 4 do
  local kind, id, key, meta = ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3]
  if redis.call('SISMEMBER', KEYS[13], id) == 1 then
    local record = redis.call('HGET', RECORDS, id)
    gone[#gone + 1] = id
    if record then
      if kind ~= 'keep' then
        redis.call('HSET', RECORDS, id, rewritten(record, meta))
      end
      if kind == 'failed' then
        failed[#failed + 1] = time
        failed[#failed + 1] = id
        freed[#freed + 1] = { key, id }
      else
        front[#front + 1] = id
      end
    end
  end
end
if #front > 0 then
  put_in_front(front)
  wake()
end
if #failed > 0 then
  redis.call('ZADD', FAILED, unpack(failed))
end
for _, pair in ipairs(freed) do
  free(pair[1], pair[2])
end
if #gone > 0 then
  redis.call('SREM', KEYS[13], unpack(gone))
end
if redis.call('EXISTS', KEYS[13]) == 0 then
  redis.call('ZREM', DEAD, ARGV[1])
end
return #front + #failed / 2
