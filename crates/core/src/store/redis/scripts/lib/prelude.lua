-- Fragment, after the checks: functions shared by several scripts.

-- The server's clock. Lua represents µs exactly (below 2^53); as an argument the number goes through text().
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function text(number)
  return string.format('%.0f', number)
end

-- Wakes one idle master. One token is enough for any amount of new work.
local function wake()
  if redis.call('LLEN', NOTIFY) == 0 then
    redis.call('LPUSH', NOTIFY, '1')
  end
end

-- Releases a unique key held by this job; another job may hold it by now.
local function free(key, id)
  if key ~= '' and redis.call('HGET', UNIQUE, key) == id then
    redis.call('HDEL', UNIQUE, key)
  end
end

-- The first line of a record: its meta; '' without one.
local function meta_of(record)
  local cut = record and string.find(record, '\n', 1, true)
  return cut and string.sub(record, 1, cut - 1) or ''
end

-- The parsed meta, or nil.
local function read(meta)
  local understood, value = pcall(cjson.decode, meta)
  return understood and type(value) == 'table' and type(value.job) == 'string' and value or nil
end

-- The names of the reserved sets of all owners. They are made here, because only rare cases need them, and are in the slot of the
-- other keys.
local function reserved_sets()
  local sets = {}
  for _, owners in ipairs({ OWNERS, DEAD }) do
    for _, name in ipairs(redis.call('ZRANGE', owners, 0, -1)) do
      sets[#sets + 1] = string.sub(SCHEMA, 1, -7) .. 'reserved:' .. name
    end
  end
  return sets
end

-- Whether the job of a record has expired before any owner leased it: the job will not run, so it holds no key.
local function expired_unleased(id, record)
  local meta = meta_of(record)
  meta = string.find(meta, '"expires_', 1, true) and read(meta)
  if not meta or meta.failing then
    return false
  end
  local after = tonumber(meta.expires_in_ms)
  after = after and (tonumber(meta.pushed_at) or tonumber(id)) + after * 1000
  if math.min(after or math.huge, tonumber(meta.expires_at) or math.huge) > now() then
    return false
  end
  for _, set in ipairs(reserved_sets()) do
    if redis.call('SISMEMBER', set, id) == 1 then
      return false
    end
  end
  return true
end

-- The job that holds a unique key, or nil: a live job that may still run, or the job of a timed hold. timed is the name of
-- the key of the timed hold.
local function holder(key, timed)
  local id = redis.call('HGET', UNIQUE, key)
  local record = id and redis.call('HGET', RECORDS, id)
  return record and not expired_unleased(id, record) and id or redis.call('GET', timed) or nil
end

-- The source of ids of a call: a function that returns a new id each time, and one that records the last one.
--
-- Ids continue from the last one while the clock is behind it. Ids up to checked_to may be in use although last_id is lower:
-- last_id was lost.
local function id_source(time, lead)
  local stats = redis.call('HMGET', STATS, 'last_id', 'checked_to', 'clock')
  local last, checked_to = tonumber(stats[1]), tonumber(stats[2]) or 0
  -- Older versions recorded no clock, but gave no id far ahead of it.
  local highest = math.max(tonumber(stats[3]) or last or 0, time)
  if not last then
    last = highest
    if redis.call('HLEN', RECORDS) > 0 then
      checked_to = math.max(checked_to, last + 2 * lead)
    end
  end
  last = math.max(last, time)
  local function next_id()
    repeat
      last = last + 1
    until last > checked_to or redis.call('HEXISTS', RECORDS, text(last)) == 0
    return last
  end
  local function record_ids()
    redis.call('HSET', STATS, 'last_id', text(last), 'checked_to', text(checked_to), 'clock', text(highest))
  end
  return next_id, record_ids
end

-- The record with a new meta. A record without a newline is all payload.
local function rewritten(record, meta)
  local cut = string.find(record, '\n', 1, true)
  return cut and meta .. string.sub(record, cut) or meta .. '\n' .. record
end

-- Due time of the next delayed job, or nil.
local function next_due()
  return tonumber(redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2])
end

-- The tombstones or the bytes (by name) without those of jobs that a clear removes.
local function live(name)
  local stats = redis.call('HMGET', STATS, name, 'clearing_' .. name)
  return math.max(0, (tonumber(stats[1]) or 0) - (there[12] and tonumber(stats[2]) or 0))
end

-- Subtracts skipped tombstones, and returns how many of them were counted; never below zero, even if another program changed the
-- records.
local function discount_tombstones(passed)
  local counted = math.min(passed, live('tombstones'))
  -- The server refuses "-0" as an integer.
  if counted > 0 then
    redis.call('HINCRBY', STATS, 'tombstones', -counted)
  end
  return counted
end

-- The lists of waiting in leasing order, which of them may have entries, and the index of each priority in that order
-- ('' is normal).
local LISTS = { HIGH, WAITING, LOW }
local filled = { there[13], true, there[14] }
local PLACE = { high = 1, [''] = 2, normal = 2, low = 3 }

-- Raises the layout version, because data unknown to lower versions follows. There is no way back.
local function raise_layout(version)
  if not schema or schema < version then
    schema = version
    redis.call('SET', SCHEMA, schema)
  end
end

-- Adds to the bytes of all records and outputs, which are counted from layout 3 on.
local function count_bytes(change)
  if schema == '3' and change ~= 0 then
    local bytes = tonumber(redis.call('HGET', STATS, 'bytes')) or 0
    redis.call('HSET', STATS, 'bytes', text(math.max(0, bytes + change)))
  end
end

-- The bytes of entries of a hash; 0 where bytes are not counted, which saves the calls.
local function bytes_of(hash, ids)
  local sum = 0
  for n = 1, schema == '3' and #ids or 0 do
    sum = sum + redis.call('HSTRLEN', hash, ids[n])
  end
  return sum
end

-- Records permanently that jobs of other priorities than normal exist or existed.
local function has_priorities()
  raise_layout('2')
  redis.call('HSET', STATS, 'priorities', '1')
end

-- Appends ids, grouped by the index of their priority, to waiting.
local function put_at_back(ids)
  for n = 1, 3 do
    if #ids[n] > 0 then
      if n ~= 2 then
        filled[n] = true
        has_priorities()
      end
      redis.call('RPUSH', LISTS[n], unpack(ids[n]))
    end
  end
end

-- Prepends ids, grouped by the index of their priority, to waiting, in the given order.
local function put_in_front(ids)
  for n = 1, 3 do
    local list = ids[n]
    if #list > 0 then
      if n ~= 2 then
        filled[n] = true
        has_priorities()
      end
      for m = 1, math.floor(#list / 2) do
        list[m], list[#list + 1 - m] = list[#list + 1 - m], list[m]
      end
      redis.call('LPUSH', LISTS[n], unpack(list))
    end
  end
end

-- The index of the priority in a record's meta; normal for an unreadable record.
local function place_of(record)
  local meta = read(meta_of(record))
  return meta and PLACE[meta.priority] or PLACE.normal
end

-- Number of waiting entries, tombstones included.
local function entries()
  local count = 0
  for n = 1, 3 do
    count = count + (filled[n] and redis.call('LLEN', LISTS[n]) or 0)
  end
  return count
end
