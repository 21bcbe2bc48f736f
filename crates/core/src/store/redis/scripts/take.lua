-- Leases one job by id: failed, delayed, or near the front of waiting.
--
-- KEYS 16  the owner's reserved set
-- KEYS 17  only with a unique key: the channel's prefix, "unique:", the key
-- ARGV     1 owner, 2 seq, 3 lease in µs, 4 id, 5 its unique key ('' for none), 6 number of waiting entries to search
-- reply    'LOST', 'REPLAYED', {} when the job is elsewhere or gone, or {record}
-- order    renew; find; SADD; remove from the old place
local id, key = ARGV[4], ARGV[5]
local refused = renew_lease(ARGV[1], ARGV[2], tonumber(ARGV[3]), now())
if refused then
  return refused
end
local record = redis.call('HGET', RECORDS, id)
if not record then
  return {}
end
if redis.call('ZSCORE', FAILED, id) then
  -- A failed job gave up its key; it takes the key again if that is free.
  if key ~= '' and not holder(key, KEYS[OWN + 1]) then
    redis.call('HSET', UNIQUE, key, id)
  end
  redis.call('SADD', KEYS[OWN], id)
  redis.call('ZREM', FAILED, id)
elseif redis.call('ZSCORE', DELAYED, id) then
  redis.call('SADD', KEYS[OWN], id)
  redis.call('ZREM', DELAYED, id)
else
  local depth = tonumber(ARGV[6])
  for _, list in ipairs(LISTS) do
    if depth <= 0 then
      break
    end
    if redis.call('LPOS', list, id, 'MAXLEN', depth) then
      redis.call('SADD', KEYS[OWN], id)
      redis.call('LREM', list, 1, id)
      return { record }
    end
    depth = depth - redis.call('LLEN', list)
  end
  return {}
end
return { record }
