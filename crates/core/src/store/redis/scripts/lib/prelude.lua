-- Fragment, behind the checks: what several scripts need.

-- The server's clock. A number of µs is exact in Lua (below 2^53); as an argument it goes through text().
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function text(number)
  return string.format('%.0f', number)
end

-- Wakes one idle master. A token that nobody took yet is enough for all that came since.
local function wake()
  if redis.call('LLEN', NOTIFY) == 0 then
    redis.call('LPUSH', NOTIFY, '1')
  end
end

-- Frees a unique key that this job holds; another job may have taken it since.
local function free(key, id)
  if key ~= '' and redis.call('HGET', UNIQUE, key) == id then
    redis.call('HDEL', UNIQUE, key)
  end
end

-- The job that holds a unique key, or nil: the one that took it for a time that is not over, living or not,
-- or a living one. timed is the name under which the key is held for a time.
local function holder(key, timed)
  local id = redis.call('HGET', UNIQUE, key)
  return id and redis.call('HEXISTS', RECORDS, id) == 1 and id or redis.call('GET', timed) or nil
end

-- The first line of a record: its meta. Empty when there is none.
local function meta_of(record)
  local cut = record and string.find(record, '\n', 1, true)
  return cut and string.sub(record, 1, cut - 1) or ''
end

-- What a meta says, or nil when it is none.
local function read(meta)
  local understood, value = pcall(cjson.decode, meta)
  return understood and type(value) == 'table' and type(value.job) == 'string' and value or nil
end

-- The record with another meta. Without a newline the whole record counts as payload.
local function rewritten(record, meta)
  local cut = string.find(record, '\n', 1, true)
  return cut and meta .. string.sub(record, cut) or meta .. '\n' .. record
end

-- When the next delayed job is due, or nil.
local function next_due()
  return tonumber(redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2])
end

-- Counts off tombstones that were passed; never below zero, whatever a foreign hand did to the records.
local function discount_tombstones(passed)
  local counted = math.min(passed, tonumber(redis.call('HGET', STATS, 'tombstones')) or 0)
  -- Minus zero would be no integer to the server.
  if counted > 0 then
    redis.call('HINCRBY', STATS, 'tombstones', -counted)
  end
end

-- The lists of waiting in the order of leasing, which of them may have an entry, and the place in that order of a
-- priority ('' is normal).
local LISTS = { HIGH, WAITING, LOW }
local filled = { there[13], true, there[14] }
local PLACE = { high = 1, [''] = 2, normal = 2, low = 3 }

-- The layout has something in it that version 1 does not know. No smaller version comes back.
local function layout_2()
  if schema ~= '2' then
    schema = '2'
    redis.call('SET', SCHEMA, schema)
  end
end

-- Notes, for ever, that there are jobs of other priorities than normal.
local function has_priorities()
  layout_2()
  redis.call('HSET', STATS, 'priorities', '1')
end

-- Puts ids, per priority as sorted by PLACE, at the back of waiting.
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

-- Puts ids, per priority, at the front of waiting. The first one given comes first: it is put there last.
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

-- The place of the priority that a record's meta names. A record of another form has normal priority.
local function place_of(record)
  local meta = read(meta_of(record))
  return meta and PLACE[meta.priority] or PLACE.normal
end

-- How many entries wait, tombstones among them.
local function entries()
  local count = 0
  for n = 1, 3 do
    count = count + (filled[n] and redis.call('LLEN', LISTS[n]) or 0)
  end
  return count
end
