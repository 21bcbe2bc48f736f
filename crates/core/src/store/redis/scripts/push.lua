-- Adds jobs, all or none.
--
-- KEYS 16.. per option with a unique key, in order: the channel's prefix, "unique:", the key
-- ARGV 1    longest delay in µs
-- ARGV 2    largest distance of an id from the clock in µs at which the id stands for the time of the push; beyond it, the
--           script adds that time to the meta
-- ARGV 3    the layout version that knows all metas: '1', or '2' when a record has unique_until, unique_for_ms, priority,
--           expires_in_ms, expires_at or headers
-- ARGV 4    o, the number of jobs with options
-- ARGV 5..  o times: index of the job (from 1), start, unique key ('' for none), length of a timed hold in ms ('' for a
--           hold until the job's end or start), priority ('' for normal, high, low); start is '' for now, '+µs' for a
--           delay, '@µs' for a time. Then the records of all jobs, whose metas agree with these options.
-- reply     per job its id, or minus the id of the job that holds its key; {'DELAY', n} when job n (from 1) starts too late
-- order     ids and places are determined by reading; then layout, last_id, bytes, records, unique keys, places, token
local time = now()
local longest, lead = tonumber(ARGV[1]), tonumber(ARGV[2])
local base = 4 + 5 * tonumber(ARGV[4])
local count = #ARGV - base
local options, timed = {}, {}
local uniques = 0
for n = 5, base, 5 do
  local key, held, priority = ARGV[n + 2], ARGV[n + 3], ARGV[n + 4]
  options[tonumber(ARGV[n])] = n
  if key ~= '' then
    timed[n] = KEYS[OWN + uniques]
    uniques = uniques + 1
    if timed[n] ~= UNIQUE .. ':' .. key then
      return redis.error_reply('AINTARG KEYS do not name "unique:' .. key .. '" in its place')
    end
  end
  if held ~= '' and not (key ~= '' and tonumber(held) and tonumber(held) >= 1 and tonumber(held) * 1000 <= longest) then
    return redis.error_reply('AINTARG "' .. held .. '" is no time for which a unique key is held')
  end
  if not PLACE[priority] then
    return redis.error_reply('AINTARG "' .. priority .. '" is no priority')
  end
end

local next_id, record_ids = id_source(time, lead)

local answers, records, keys, held, taken = {}, {}, {}, {}, {}
local waiting, delayed, earliest, prioritised = { {}, {}, {} }, {}, nil, false
local normal = waiting[2]
local added, plain, bytes = 0, 0, 0
for n = 1, count do
  local option, key, due, existing, place = options[n], '', time, nil, 2
  if option then
    local start = ARGV[option + 1]
    key = ARGV[option + 2]
    existing = key ~= '' and (taken[key] or holder(key, timed[option]))
    place = PLACE[ARGV[option + 4]]
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
    local record = ARGV[base + n]
    if number > time + lead then
      record = '{"pushed_at":' .. text(time) .. ',' .. string.sub(record, 2)
    end
    records[2 * added - 1], records[2 * added] = id, record
    bytes = bytes + #record
    if key ~= '' then
      taken[key] = not expired_unleased(id, record) and id or nil
      if ARGV[option + 3] == '' then
        keys[#keys + 1] = key
        keys[#keys + 1] = id
      else
        held[#held + 1] = option
        held[#held + 1] = id
      end
    end
    if due > time then
      delayed[#delayed + 1] = text(due)
      delayed[#delayed + 1] = id
      earliest = math.min(earliest or due, due)
      prioritised = prioritised or place ~= 2
    elseif place == 2 then
      plain = plain + 1
      normal[plain] = id
    else
      waiting[place][#waiting[place] + 1] = id
    end
  end
end
if added == 0 then
  return answers
end

if ARGV[3] ~= '1' or prioritised or #held > 0 then
  raise_layout('2')
else
  raise_layout('1')
end
if prioritised then
  has_priorities()
end
record_ids()
-- A count that another program has put wrong is right again in an empty channel.
if schema == '3' and redis.call('HLEN', RECORDS) == 0 then
  redis.call('HDEL', STATS, 'bytes')
end
count_bytes(bytes)
redis.call('HSET', RECORDS, unpack(records))
if #keys > 0 then
  redis.call('HSET', UNIQUE, unpack(keys))
end
for n = 1, #held, 2 do
  redis.call('SET', timed[held[n]], held[n + 1], 'PX', text(tonumber(ARGV[held[n] + 3])))
end
if #delayed > 0 then
  local before = next_due()
  redis.call('ZADD', DELAYED, unpack(delayed))
  if not before or earliest < before then
    wake()
  end
end
put_at_back(waiting)
if added > #delayed / 2 then
  wake()
end
return answers
