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

-- The job that holds a unique key, or nil: the job of a timed hold, or a live job. timed is the name of the key of the
-- timed hold.
local function holder(key, timed)
  local id = redis.call('HGET', UNIQUE, key)
  return id and redis.call('HEXISTS', RECORDS, id) == 1 and id or redis.call('GET', timed) or nil
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

-- The record with a new meta. A record without a newline is all payload.
local function rewritten(record, meta)
  local cut = string.find(record, '\n', 1, true)
  return cut and meta .. string.sub(record, cut) or meta .. '\n' .. record
end

-- Due time of the next delayed job, or nil.
local function next_due()
  return tonumber(redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2])
end

-- Subtracts skipped tombstones; never below zero, even if another program changed the records.
local function discount_tombstones(passed)
  local counted = math.min(passed, tonumber(redis.call('HGET', STATS, 'tombstones')) or 0)
  -- The server refuses "-0" as an integer.
  if counted > 0 then
    redis.call('HINCRBY', STATS, 'tombstones', -counted)
  end
end

-- The lists of waiting in leasing order, which of them may have entries, and the index of each priority in that order
-- ('' is normal).
local LISTS = { HIGH, WAITING, LOW }
local filled = { there[13], true, there[14] }
local PLACE = { high = 1, [''] = 2, normal = 2, low = 3 }

-- Raises the layout version to 2, because data unknown to version 1 follows. There is no way back.
local function layout_2()
  if schema ~= '2' then
    schema = '2'
    redis.call('SET', SCHEMA, schema)
  end
end

-- Records permanently that jobs of other priorities than normal exist or existed.
local function has_priorities()
  layout_2()
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
