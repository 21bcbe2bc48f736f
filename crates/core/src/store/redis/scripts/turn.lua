-- A turn of an owner: renew, settle, release, promote, lease.
--
-- KEYS 16  the owner's reserved set
-- KEYS 17  only with a change of an output or a kept job: the outputs
-- KEYS 18  kept    KEYS 19  kept:texts, only with a kept job: see lib/kept_jobs.lua
-- last key only with a summary to publish: the summaries
-- ARGV 1   owner           ARGV 2  seq             ARGV 3  lease in µs
-- ARGV 4   want            ARGV 5  most payload bytes
-- ARGV 6   number of records to read first
-- ARGV 7   the priorities whose front job goes before all others: none, normal, low, or low,normal; '' like none, and the reply
--          does not tell which of them wait
-- ARGV 8   d, the number of done jobs without a unique key
-- ARGV 9   o, the number of other settlements
-- ARGV 10.. d ids; then, per other settlement: kind, id, unique key ('' for none), delay in µs, priority ('' for normal),
--          meta, output; kind is done, kept, front, back, delayed, failed, or found: failed with an unreadable record, whose text
--          becomes the payload; the meta of a kept job is the text about it; output is '' for no change, - for its removal, or the new one. No id occurs twice. Then, per
--          release: unique or lock, id, key. Then, with a kept job: kept, most kept jobs, most age in µs. Then, with a
--          summary to publish: publish, the summary, ''
-- reply    'LOST', 'REPLAYED', or
--          {conflicts, ids, records, time to the next due job or end of a pause or -1, held, waiting, now, lower, removed, names}
--          waiting is the number of leasable jobs after this turn: none while the channel is paused
--          lower is the sum of 1 if entries of priority normal are left, and 2 if ones of priority low are
--          conflicts alternates an id and whether it has a record (1 stale, 0 cleared)
--          an entry that is no id is leased too, with '' for a missing record: the client moves it to failed
--          removed is the number of ids without a record that were no tombstones; names are some of the passed ones
-- order    renew; SMISMEMBER; new places of held jobs; SREM; releases; removal of kept jobs; summary; promote; raise; peek; SADD; LTRIM
local owner, want, most = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local done, others = tonumber(ARGV[8]), tonumber(ARGV[9])
local RESERVED, OUTPUTS = KEYS[OWN], KEYS[OWN + 1]
local time = now()
local refused = renew_lease(owner, ARGV[2], tonumber(ARGV[3]), time)
if refused then
  return refused
end

local conflicts, released, leased, prioritised, keeps = {}, 0, 0, false, false
local function conflict(id)
  conflicts[#conflicts + 1] = id
  conflicts[#conflicts + 1] = redis.call('HEXISTS', RECORDS, id)
end
-- Counted first, so that an error here leaves the jobs reserved; a missing record is no finished job.
local function finish(...)
  local count = select('#', ...)
  if schema == '3' then
    count_bytes(-bytes_of(RECORDS, { ... }))
  end
  redis.call('HINCRBY', STATS, 'done', count)
  local removed = redis.call('HDEL', RECORDS, ...)
  if removed < count then
    redis.call('HINCRBY', STATS, 'done', removed - count)
  end
end

if done > 0 then
  -- Usually all are held, and the arguments can be passed on as they are.
  local ids, first, last = ARGV, 10, 9 + done
  local holds = redis.call('SMISMEMBER', RESERVED, unpack(ids, first, last))
  local all = true
  for n = 1, done do
    all = all and holds[n] == 1
  end
  if not all then
    ids, first, last = {}, 1, 0
    for n = 1, done do
      if holds[n] == 1 then
        last = last + 1
        ids[last] = ARGV[9 + n]
      else
        conflict(ARGV[9 + n])
      end
    end
  end
  if last >= first then
    finish(unpack(ids, first, last))
    redis.call('SREM', RESERVED, unpack(ids, first, last))
  end
end

if others > 0 then
  local ids, settled, finished, freed, bytes = {}, {}, {}, {}, 0
  local front, back, delayed, failed, kept, texts = { {}, {}, {} }, { {}, {}, {} }, {}, {}, {}, {}
  for n = 1, others do
    ids[n] = ARGV[done + 7 * n + 4]
  end
  local holds = redis.call('SMISMEMBER', RESERVED, unpack(ids))
  for n = 1, others do
    local at = done + 7 * n + 3
    local kind, id, key, delay, meta = ARGV[at], ids[n], ARGV[at + 2], ARGV[at + 3], ARGV[at + 5]
    local place, record = PLACE[ARGV[at + 4]]
    if holds[n] == 1 then
      settled[#settled + 1] = id
      record = redis.call('HGET', RECORDS, id)
    end
    local output = ARGV[at + 6]
    if record and output ~= '' then
      bytes = bytes - bytes_of(OUTPUTS, { id })
      if output == '-' then
        redis.call('HDEL', OUTPUTS, id)
      else
        bytes = bytes + #output
        redis.call('HSET', OUTPUTS, id, output)
      end
    end
    if not record then
      conflict(id)
    elseif kind == 'done' or kind == 'kept' then
      finished[#finished + 1] = id
      freed[#freed + 1] = { key, id }
      if kind == 'kept' then
        kept[#kept + 1] = text(time)
        kept[#kept + 1] = id
        texts[#texts + 1] = id
        texts[#texts + 1] = meta
      end
    else
      bytes = bytes - #record
      if kind == 'found' then
        -- The settling master could not read the record. An unreadable text becomes the payload; a meta may name a key to release.
        local old = read(meta_of(record))
        record = old and record or '\n' .. record
        key = old and type(old.unique) == 'string' and old.unique or key
      end
      record = rewritten(record, meta)
      bytes = bytes + #record
      redis.call('HSET', RECORDS, id, record)
      if kind == 'front' or kind == 'back' then
        local ends = kind == 'front' and front[place] or back[place]
        ends[#ends + 1] = id
        released = released + 1
      elseif kind == 'delayed' then
        prioritised = prioritised or place ~= 2
        delayed[#delayed + 1] = text(time + tonumber(delay))
        delayed[#delayed + 1] = id
      else
        failed[#failed + 1] = text(time)
        failed[#failed + 1] = id
        freed[#freed + 1] = { key, id }
      end
    end
  end
  count_bytes(bytes)
  put_in_front(front)
  put_at_back(back)
  if prioritised then
    has_priorities()
  end
  if #delayed > 0 then
    local before = next_due()
    redis.call('ZADD', DELAYED, unpack(delayed))
    if not before or next_due() < before then
      wake()
    end
  end
  if #failed > 0 then
    redis.call('ZADD', FAILED, unpack(failed))
  end
  if #kept > 0 then
    keeps = true
    redis.call('HSET', KEYS[OWN + 3], unpack(texts))
    redis.call('ZADD', KEYS[OWN + 2], unpack(kept))
  end
  if #finished > 0 then
    finish(unpack(finished))
  end
  for _, pair in ipairs(freed) do
    free(pair[1], pair[2])
  end
  if #settled > 0 then
    redis.call('SREM', RESERVED, unpack(settled))
  end
end

-- A summary is for display only: a key of another program keeps no turn from its jobs. A program of an earlier version ends
-- owners without their summaries.
local function publish(summaries, summary)
  local kind = redis.call('TYPE', summaries).ok
  if kind ~= 'hash' and kind ~= 'none' then
    return
  end
  redis.call('HSET', summaries, owner, text(time) .. '\n' .. summary)
  if redis.call('HLEN', summaries) > redis.call('ZCARD', OWNERS) then
    for _, name in ipairs(redis.call('HKEYS', summaries)) do
      if not redis.call('ZSCORE', OWNERS, name) then
        redis.call('HDEL', summaries, name)
      end
    end
  end
end
for n = 10 + done + 7 * others, #ARGV, 3 do
  if ARGV[n] == 'unique' then
    free(ARGV[n + 2], ARGV[n + 1])
  elseif ARGV[n] == 'kept' then
    if keeps then
      redis.call('HSET', KEYS[OWN + 3], 'count', ARGV[n + 1], 'age', ARGV[n + 2])
      trim_kept(KEYS[OWN + 2], KEYS[OWN + 3], time)
    end
  elseif ARGV[n] == 'publish' then
    publish(KEYS[#KEYS], ARGV[n + 1])
  else
    redis.call('ZREM', LOCKS, lock_of(ARGV[n + 2], owner, ARGV[n + 1]))
  end
end

local due = next_due()
if due and due <= time then
  local ids = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', text(time), 'LIMIT', 0, 500)
  if redis.call('HGET', STATS, 'priorities') then
    -- Priorities are in the records only, which are as large as their payloads: fewer jobs move in one turn.
    local moved, back, bytes = {}, { {}, {}, {} }, 0
    for n, id in ipairs(ids) do
      if bytes >= 4194304 then
        break
      end
      local record = redis.call('HGET', RECORDS, id) or ''
      local list = back[place_of(record)]
      list[#list + 1], moved[n], bytes = id, id, bytes + #record
    end
    put_at_back(back)
    ids = moved
  else
    redis.call('RPUSH', WAITING, unpack(ids))
  end
  redis.call('ZREM', DELAYED, unpack(ids))
  released = released + #ids
  due = next_due()
end

-- Ids without a record are tombstones, as many as are counted; with others among them the names may be those of tombstones.
local passed_names = {}
local passed, tombstones = { 0, 0, 0 }, 0
local function pass(id)
  tombstones = tombstones + 1
  if tombstones <= 5 then
    passed_names[tombstones] = id
  end
end

-- Step sizes follow the record sizes seen so far, so that large payloads are not read and discarded.
local ids, records, bytes = {}, {}, 0
local exact, full = false, false
local function lease(place)
  if full or not filled[place] then
    return
  end
  local list, skipped, step = LISTS[place], 0, leased == 0 and tonumber(ARGV[6]) or 500
  while leased < want and skipped < want + 2000 and not full do
    if bytes > 0 then
      step = math.max(16, math.min(500, math.floor((most - bytes) * leased / bytes)))
    end
    local peeked = redis.call('LRANGE', list, skipped, skipped + math.min(step, want - leased) - 1)
    local count = #peeked
    if count == 0 then
      break
    end
    local found = redis.call('HMGET', RECORDS, unpack(peeked))
    if leased == 0 and skipped == 0 then
      -- Usually every id has a record and all fit; then the replies are returned as they are.
      local sum, complete = 0, true
      for n = 1, count do
        if not found[n] then
          complete = false
          break
        end
        sum = sum + #found[n]
      end
      if complete and sum < most then
        ids, records, leased, skipped, bytes = peeked, found, count, count, sum
        count = 0
      end
    end
    for n = 1, count do
      local record = found[n]
      if not record and is_id(peeked[n]) then
        pass(peeked[n])
      else
        local size = record and #record or #peeked[n]
        record = record or ''
        if bytes >= most and not exact then
          -- Record sizes include metas until here; close to the bound the exact payload sum is computed.
          exact, bytes = true, 0
          for m = 1, leased do
            bytes = bytes + #records[m] - (string.find(records[m], '\n', 1, true) or 0)
          end
        end
        if leased > 0 and bytes >= most then
          full = true
          break
        end
        leased = leased + 1
        ids[leased], records[leased] = peeked[n], record
        bytes = bytes + size - (exact and string.find(record, '\n', 1, true) or 0)
      end
      skipped = skipped + 1
    end
    if bytes == 0 then
      step = 500
    end
  end
  passed[place] = skipped
  -- Behind that many tombstones there may be jobs that precede the next list.
  full = full or skipped >= want + 2000
end
-- Moves the front job of a list before all others. Tombstones before the job are dropped; behind 2000 of them it stays.
local function raise_front(list)
  local before = {}
  for step = 16, 2000, 496 do
    for _, id in ipairs(redis.call('LRANGE', list, #before, step - 1)) do
      if redis.call('HEXISTS', RECORDS, id) == 1 or not is_id(id) then
        redis.call('LTRIM', list, #before + 1, -1)
        redis.call('LPUSH', HIGH, id)
        filled[1] = true
        for _, skipped in ipairs(before) do
          pass(skipped)
        end
        return
      end
      before[#before + 1] = id
    end
  end
end
local stats = redis.call('HMGET', STATS, 'paused', 'clock')
local stored, highest = stats[1], tonumber(stats[2]) or 0
local paused = pause(stored, time)
-- A status knows a step back of the clock from this; a tenth of a second is exact enough.
if time >= highest + 100000 then
  redis.call('HSET', STATS, 'clock', text(time))
end
if stored and not paused then
  redis.call('HDEL', STATS, 'paused')
end
if want > 0 and not paused then
  -- A raised job that is not leased in this turn would stay behind those that later turns raise.
  local room = want
  for name in string.gmatch(ARGV[7], '[^,]+') do
    local place = PLACE[name]
    if place and room > 0 then
      room = room - 1
      if filled[place] then
        raise_front(LISTS[place])
      end
    end
  end
  lease(1)
  lease(2)
  lease(3)
end
if leased > 0 then
  redis.call('SADD', RESERVED, unpack(ids))
end
for place = 1, 3 do
  if passed[place] > 0 then
    redis.call('LTRIM', LISTS[place], passed[place], -1)
  end
end
local removed = 0
if tombstones > 0 then
  removed = tombstones - discount_tombstones(tombstones)
end

-- Jobs that this turn added or left behind are for the next idle master. A turn that only renews leaves no token, so that
-- a master without free slots does not keep waking itself.
local left = entries()
if (leased > 0 or released > 0 or tombstones > 0) and left > 0 then
  wake()
end
local waiting = 0
if left > 0 and not paused then
  waiting = math.max(0, left - live('tombstones'))
end
if paused and paused > 0 then
  due = math.min(due or paused, paused)
end
local lower = 0
if ARGV[7] ~= '' then
  lower = (redis.call('LLEN', WAITING) > 0 and 1 or 0) + (filled[3] and redis.call('LLEN', LOW) > 0 and 2 or 0)
end
due = due and math.max(0, due - time) or -1
return { conflicts, ids, records, due, redis.call('SCARD', RESERVED), waiting, time, lower,
  removed, removed > 0 and passed_names or {} }
