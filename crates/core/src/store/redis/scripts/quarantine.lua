-- Moves foreign entries of an owner's set to failed under ids of this store: their names are no ids, so no other call can
-- name them.
--
-- KEYS 16  the owner's reserved set
-- ARGV 1   owner
-- ARGV 2   largest distance of an id from the clock, as for push.lua
-- ARGV 3.. per entry: its name, its new meta
-- reply    number of entries that have left the set; names no longer in it are skipped
-- order    ids, new records, failed, unique keys, old records, SREM; an ended owner disappears with its last entry
local time = now()
local next_id, record_ids = id_source(time, tonumber(ARGV[2]))
local names, records, failed, freed, kept, bytes = {}, {}, {}, {}, {}, 0
for n = 3, #ARGV, 2 do
  local name = ARGV[n]
  if redis.call('SISMEMBER', KEYS[OWN], name) == 1 then
    names[#names + 1] = name
    local record = redis.call('HGET', RECORDS, name)
    if record then
      local id, meta = text(next_id()), read(meta_of(record))
      if meta and type(meta.unique) == 'string' then
        freed[#freed + 1] = { meta.unique, name }
      end
      records[#records + 1] = id
      records[#records + 1] = ARGV[n + 1] .. '\n' .. record
      bytes = bytes + #ARGV[n + 1] + 1
      failed[#failed + 1] = text(time)
      failed[#failed + 1] = id
      kept[#kept + 1] = name
    end
  end
end
if #kept > 0 then
  record_ids()
  count_bytes(bytes)
  redis.call('HSET', RECORDS, unpack(records))
  redis.call('ZADD', FAILED, unpack(failed))
  for _, pair in ipairs(freed) do
    free(pair[1], pair[2])
  end
  redis.call('HDEL', RECORDS, unpack(kept))
end
if #names > 0 then
  redis.call('SREM', KEYS[OWN], unpack(names))
end
if redis.call('EXISTS', KEYS[OWN]) == 0 then
  redis.call('ZREM', DEAD, ARGV[1])
end
return #names
