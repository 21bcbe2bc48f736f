-- Adds jobs, all or none.
--
-- ARGV 1   longest delay in µs
-- ARGV 2   how far an id may be ahead of the clock, in µs
-- ARGV 3   o, how many jobs have options
-- ARGV 4.. o times: which job (from 1), start, unique key ('' for none);
--          start is '' for now, '+µs' for a delay, '@µs' for a time; then the records of all jobs
-- reply    per job its id, or minus the id of the living job that holds its key
--          'AHEAD' when ids would run ahead of the clock; {'DELAY', n} when job n (from 1) starts too late
-- order    ids and places are settled by reading; then last_id, records, unique keys, places, token
local time = now()
local longest, lead = tonumber(ARGV[1]), tonumber(ARGV[2])
local base = 3 + 3 * tonumber(ARGV[3])
local count = #ARGV - base
local options = {}
for n = 4, base, 3 do
  options[tonumber(ARGV[n])] = n
end

-- Ids up to checked_to may be taken although last_id does not say so: it was lost, or the clock stepped back.
local stats = redis.call('HMGET', STATS, 'last_id', 'checked_to')
local last, checked_to = tonumber(stats[1]), tonumber(stats[2]) or 0
if not last then
  last = time
  if redis.call('HLEN', RECORDS) > 0 then
    checked_to = math.max(checked_to, time + 2 * lead)
  end
elseif last > time + 2 * lead then
  last, checked_to = time, math.max(checked_to, last)
end
last = math.max(last, time)
local function next_id()
  repeat
    last = last + 1
  until last > checked_to or redis.call('HEXISTS', RECORDS, text(last)) == 0
  return last
end

local answers, records, keys, taken = {}, {}, {}, {}
local waiting, delayed, earliest = {}, {}, nil
local added, ready = 0, 0
for n = 1, count do
  local option, key, due, existing = options[n], '', time, nil
  if option then
    local start = ARGV[option + 1]
    key = ARGV[option + 2]
    existing = key ~= '' and (taken[key] or holder(key))
    if start ~= '' then
      due = tonumber(string.sub(start, 2)) + (string.sub(start, 1, 1) == '+' and time or 0)
    end
  end
  if due > time + longest then
    return { 'DELAY', n }
  elseif existing then
    answers[n] = -tonumber(existing)
  else
    local number = next_id()
    local id = text(number)
    answers[n] = number
    added = added + 1
    records[2 * added - 1], records[2 * added] = id, ARGV[base + n]
    if key ~= '' then
      taken[key] = id
      keys[#keys + 1] = key
      keys[#keys + 1] = id
    end
    if due > time then
      delayed[#delayed + 1] = text(due)
      delayed[#delayed + 1] = id
      earliest = math.min(earliest or due, due)
    else
      ready = ready + 1
      waiting[ready] = id
    end
  end
end
if last > time + lead then
  return 'AHEAD'
end
if added == 0 then
  return answers
end

if not schema then
  redis.call('SET', SCHEMA, '1')
end
redis.call('HSET', STATS, 'last_id', text(last), 'checked_to', text(checked_to))
redis.call('HSET', RECORDS, unpack(records))
if #keys > 0 then
  redis.call('HSET', UNIQUE, unpack(keys))
end
if #delayed > 0 then
  local before = next_due()
  redis.call('ZADD', DELAYED, unpack(delayed))
  if not before or earliest < before then
    wake()
  end
end
if ready > 0 then
  redis.call('RPUSH', WAITING, unpack(waiting))
  wake()
end
return answers
