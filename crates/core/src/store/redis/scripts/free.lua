-- Returns jobs of an ended owner to the front of waiting, or moves them to failed.
--
-- KEYS 16  the owner's reserved set
-- ARGV 1   owner
-- ARGV 2.. per job, in their future order in waiting: kind, id, unique key ('' for none), priority ('' for normal), meta;
--          kind is keep (front, record unchanged, priority read from it), front, failed
-- reply    {number of moved jobs, ids without a record, which are removed}; ids no longer in the set are skipped
-- order    records, new places, unique keys, SREM; the owner disappears with its last job
if not redis.call('ZSCORE', DEAD, ARGV[1]) then
  return { 0, {} }
end
local time, front, failed, gone, freed = text(now()), { {}, {}, {} }, {}, {}, {}
local prioritised, moved, bytes, missing = redis.call('HGET', STATS, 'priorities'), 0, 0, {}
for n = 2, #ARGV, 5 do
  local kind, id, key, place, meta = ARGV[n], ARGV[n + 1], ARGV[n + 2], PLACE[ARGV[n + 3]], ARGV[n + 4]
  if redis.call('SISMEMBER', KEYS[OWN], id) == 1 then
    local record = redis.call('HGET', RECORDS, id)
    gone[#gone + 1] = id
    if record then
      moved = moved + 1
      if kind == 'keep' then
        place = prioritised and place_of(record) or place
      else
        local new = rewritten(record, meta)
        bytes = bytes + #new - #record
        redis.call('HSET', RECORDS, id, new)
      end
      if kind == 'failed' then
        failed[#failed + 1] = time
        failed[#failed + 1] = id
        freed[#freed + 1] = { key, id }
      else
        front[place][#front[place] + 1] = id
      end
    else
      missing[#missing + 1] = id
    end
  end
end
count_bytes(bytes)
put_in_front(front)
if moved > #failed / 2 then
  wake()
end
if #failed > 0 then
  redis.call('ZADD', FAILED, unpack(failed))
end
for _, pair in ipairs(freed) do
  free(pair[1], pair[2])
end
if #gone > 0 then
  redis.call('SREM', KEYS[OWN], unpack(gone))
end
if redis.call('EXISTS', KEYS[OWN]) == 0 then
  redis.call('ZREM', DEAD, ARGV[1])
end
return { moved, missing }
