-- One turn of an owner: renew, settle, promote, lease.
--
-- KEYS 13  the owner's reserved set
-- ARGV 1   owner           ARGV 2  seq             ARGV 3  lease in µs
-- ARGV 4   want            ARGV 5  most payload bytes
-- ARGV 6   how many records to read at first
-- ARGV 7   d, how many jobs are done without a unique key
-- ARGV 8.. d ids; then, per other settlement: kind, id, unique key ('' for none), delay in µs, meta
--          kind is done, front, back, delayed, failed, or found: failed, and a record that is not one
--          stays as the payload. An id comes once in all.
-- reply    'LOST', 'REPLAYED', or
--          {exceptions, ids, records, time to the next delayed job or -1, held, now}
--          exceptions alternates an id and whether it has a record (1 stale, 0 cleared)
-- order    renew; SMISMEMBER; new places of what holds; SREM of it; promote; peek; SADD; LTRIM
local owner, want, most = ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5])
local done = tonumber(ARGV[7])
local RESERVED = KEYS[13]
local time = now()
local refused = speak(owner, ARGV[2], tonumber(ARGV[3]), time)
if refused then
  return refused
end

local exceptions, released, leased = {}, 0, 0
local function except(id)
  exceptions[#exceptions + 1] = id
  exceptions[#exceptions + 1] = redis.call('HEXISTS', RECORDS, id)
end
-- Counted first, so that an error here leaves them reserved; a record that was gone already is not a job.
local function finish(...)
  local count = select('#', ...)
  redis.call('HINCRBY', STATS, 'done', count)
  local removed = redis.call('HDEL', RECORDS, ...)
  if removed < count then
    redis.call('HINCRBY', STATS, 'done', removed - count)
  end
end

if done > 0 then
  -- Nearly always all hold, and the arguments serve as they are.
  local ids, first, last = ARGV, 8, 7 + done
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
        ids[last] = ARGV[7 + n]
      else
        except(ARGV[7 + n])
      end
    end
  end
  if last >= first then
    finish(unpack(ids, first, last))
    redis.call('SREM', RESERVED, unpack(ids, first, last))
  end
end

local others = (#ARGV - 7 - done) / 5
if others > 0 then
  local ids, settled, finished, freed = {}, {}, {}, {}
  local front, back, delayed, failed = {}, {}, {}, {}
  for n = 1, others do
    ids[n] = ARGV[done + 5 * n + 4]
  end
  local holds = redis.call('SMISMEMBER', RESERVED, unpack(ids))
  for n = 1, others do
    local at = done + 5 * n + 3
    local kind, id, key, delay, meta = ARGV[at], ids[n], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
    local record
    if holds[n] == 1 then
      settled[#settled + 1] = id
      record = redis.call('HGET', RECORDS, id)
    end
    if not record then
      except(id)
    elseif kind == 'done' then
      finished[#finished + 1] = id
      freed[#freed + 1] = { key, id }
    else
      if kind == 'found' then
        -- Who settles it could not read it. What is no meta stays as payload; a meta may name a key to free.
        local old = read(meta_of(record))
        record = old and record or '\n' .. record
        key = old and type(old.unique) == 'string' and old.unique or key
      end
      redis.call('HSET', RECORDS, id, rewritten(record, meta))
      if kind == 'front' then
        front[#front + 1] = id
      elseif kind == 'back' then
        back[#back + 1] = id
      elseif kind == 'delayed' then
        delayed[#delayed + 1] = text(time + tonumber(delay))
        delayed[#delayed + 1] = id
      else
        failed[#failed + 1] = text(time)
        failed[#failed + 1] = id
        freed[#freed + 1] = { key, id }
      end
    end
  end
  if #front > 0 then
    put_in_front(front)
  end
  if #back > 0 then
    redis.call('RPUSH', WAITING, unpack(back))
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
  if #finished > 0 then
    finish(unpack(finished))
  end
  for _, pair in ipairs(freed) do
    free(pair[1], pair[2])
  end
  if #settled > 0 then
    redis.call('SREM', RESERVED, unpack(settled))
  end
  released = #front + #back
end

local due = next_due()
if due and due <= time then
  local ids = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', text(time), 'LIMIT', 0, 500)
  redis.call('RPUSH', WAITING, unpack(ids))
  redis.call('ZREM', DELAYED, unpack(ids))
  released = released + #ids
  due = next_due()
end

-- Reads in steps sized by what was seen, so that large payloads are not read in vain.
local ids, records = {}, {}
local passed, tombstones, full = 0, 0, false
if want > 0 and not redis.call('HGET', STATS, 'paused') then
  local bytes, exact, step = 0, false, tonumber(ARGV[6])
  while leased < want and passed < want + 2000 and not full do
    local peeked = redis.call('LRANGE', WAITING, passed, passed + math.min(step, want - leased) - 1)
    local count = #peeked
    if count == 0 then
      break
    end
    local found = redis.call('HMGET', RECORDS, unpack(peeked))
    if passed == 0 then
      -- Nearly always every id has a record and all fit; then the replies serve as they are.
      local sum, complete = 0, true
      for n = 1, count do
        if not found[n] then
          complete = false
          break
        end
        sum = sum + #found[n]
      end
      if complete and sum < most then
        ids, records, leased, passed, bytes = peeked, found, count, count, sum
        count = 0
      end
    end
    for n = 1, count do
      local record = found[n]
      if not record then
        tombstones = tombstones + 1
      else
        if bytes >= most and not exact then
          -- Whole records were counted until here, metas included; only now the exact sum matters.
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
        bytes = bytes + #record - (exact and string.find(record, '\n', 1, true) or 0)
      end
      passed = passed + 1
    end
    step = 500
    if bytes > 0 then
      step = math.max(16, math.min(step, math.floor((most - bytes) * leased / bytes)))
    end
  end
end
if leased > 0 then
  redis.call('SADD', RESERVED, unpack(ids))
end
if passed > 0 then
  redis.call('LTRIM', WAITING, passed, -1)
end
if tombstones > 0 then
  bury(tombstones)
end

-- What this turn put there and did not take, or left behind, is for the next idle master. A turn that only
-- renews leaves no token, so that a master without free slots does not keep itself awake.
if (leased > 0 or released > 0 or passed > 0) and redis.call('LLEN', WAITING) > 0 then
  wake()
end
return { exceptions, ids, records, due and math.max(0, due - time) or -1, redis.call('SCARD', RESERVED), time }
