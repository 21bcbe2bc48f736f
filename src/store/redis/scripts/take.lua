-- Leases one job by its id: failed, delayed, or near the front of waiting.
--
-- KEYS 13  the owner's reserved set
-- ARGV     1 owner, 2 seq, 3 lease in µs, 4 id, 5 its unique key ('' for none), 6 how deep to look into waiting
-- reply    'LOST', 'REPLAYED', {} when it is not there, or {record}
-- order    renew; find; SADD; remove from the old place
local id, key = ARGV[4], ARGV[5]
local refused = speak(ARGV[1], ARGV[2], tonumber(ARGV[3]), now())
if refused then
  return refused
end
local record = redis.call('HGET', RECORDS, id)
if not record then
  return {}
end
if redis.call('ZSCORE', FAILED, id) then
  -- A failed job gave its key up; it takes it again where it is free.
  if key ~= '' and not holder(key) then
    redis.call('HSET', UNIQUE, key, id)
  end
  redis.call('SADD', KEYS[13], id)
  redis.call('ZREM', FAILED, id)
elseif redis.call('ZSCORE', DELAYED, id) then
  redis.call('SADD', KEYS[13], id)
  redis.call('ZREM', DELAYED, id)
elseif redis.call('LPOS', WAITING, id, 'MAXLEN', ARGV[6]) then
  redis.call('SADD', KEYS[13], id)
  redis.call('LREM', WAITING, 1, id)
else
  return {}
end
return { record }
