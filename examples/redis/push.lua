-- Pushes one job to a channel of aint-queue, for clients in any language. Send this text with EVAL or EVALSHA, unchanged.
--
-- KEYS     all keys of the channel, in the order of NAMES below: "aint-queue:{channel}:schema" and so on, each behind the
--          driver.prefix of the channel, if it has one;
--          then, only for a job with a unique key, "aint-queue:{channel}:unique:" and that key
-- ARGV 1   the job's name
-- ARGV 2   the payload: JSON
-- ARGV 3   options, a JSON object; may be '' or left out. Every time is a number of seconds:
--            delay           earliest start, from now
--            at              earliest start, since 1970
--            max_attempts    number of attempts
--            retry_for       retry for this long after the push, in place of the channel's max_attempts
--            retry_until     end of that time, since 1970
--            timeout         time limit of a run; 0 for no limit
--            unique          unique key: add nothing while another job holds it
--            unique_until    end of the hold on that key: "end" of the job (the default) or its "start"
--            unique_for      hold the key for this long after the push instead
--            priority        "high", "normal" or "low"
--            expires         latest start, from now
--            expires_at      latest start, since 1970
--            headers         an object of texts, metadata for the handler
-- reply    {id, 1} for a new job, {id, 0} when the job with this id holds the unique key
-- errors   AINTARG (a wrong argument, with the reason), AINTFULL (max_waiting or max_bytes is reached), AINTKEY (a key belongs to another
--          program), AINTSCHEMA (the channel belongs to another version of aint-queue)
--
-- The test suite of aint-queue builds this file from the driver's own scripts. See docs/redis-producers.md.
local NAMES = {
  'schema', 'records', 'waiting', 'delayed', 'failed', 'owners', 'dead', 'seqs', 'stats', 'unique', 'notify', 'clearing', 'waiting:high', 'waiting:low', 'locks',
}
local MAX_DELAY = 316224000000000
local MAX_LEAD = 1000000
local MAX_PAYLOAD = 1048576
local MAX_DEPTH = 128
local MAX_OPTIONS = 65536
local MAX_KEY = 256
local MAX_HEADERS = 64
local MAX_HEADER_BYTES = 8192
local function wrong(...)
  return redis.error_reply('AINTARG ' .. table.concat({ ... }))
end
local prefix = string.match(KEYS[1] or '', '^([%w_.:/-]*aint%-queue:{[^{}]+}:)schema$')
for n, name in ipairs(NAMES) do
  if not prefix or KEYS[n] ~= prefix .. name then
    return wrong(
      'keys: key ', n, ' of ', #KEYS, ' is "', KEYS[n] or '', '"; the ', #NAMES, ' keys of one channel are needed, ',
      'aint-queue:{channel}: before each of ', table.concat(NAMES, ' ')
    )
  end
end
-- Fragment, first in every script: names the channel's keys and refuses foreign ones.
--
-- KEYS 1-15  all keys of the channel, in this order (keys.rs):
--    1 schema    string  layout version: "1"; "2" from the first data that version 1 does not know; "3" once bytes are counted
--    2 records   hash    id -> meta JSON .. "\n" .. payload JSON
--    3 waiting   list    ids of normal priority, front first; may contain tombstones: ids whose record was removed
--    4 delayed   zset    id by due time
--    5 failed    zset    id by time of failure
--    6 owners    zset    living owner by lease deadline
--    7 dead      zset    ended owner that still has jobs, by time of death; 0 for one that left
--    8 seqs      hash    owner -> number of its last call
--    9 stats     hash    last_id, checked_to, done, cleared, tombstones,
--                        clearing_<state>: the entries of the lists or zsets that clears have renamed, and
--                        clearing_tombstones, clearing_bytes: their part of tombstones and (an estimate) of bytes,
--                        clock: the highest time that the server's clock has shown,
--                        paused: 1 for no end, else the time of the end,
--                        priorities: set once a job had high or low priority,
--                        max_waiting: the limit of waiting and delayed jobs, if there is one,
--                        max_bytes: the limit of bytes, if there is one,
--                        bytes: from layout 3 on, the bytes of all records and outputs
--   10 unique    hash    unique key -> id, until the end or start of that job
--   11 notify    list    at most one token: work may be available
--   12 clearing  hash    name -> state, for each list or zset renamed by a clear to clearing:<name>
--   13 waiting:high  list  like waiting, leased before it
--   14 waiting:low   list  like waiting, leased after it
--   15 locks     zset    score 0: members made by lib/lock_members.lua from lock, owner and job
-- KEYS 16 and on  see the head of each script; among them, one for each timed hold and each rate, and the outputs:
--    unique:<unique key>  string  id, until the end of the hold
--    rate:<key>           string  the time at which the rate is unused again, until then
--    clearing:unique      hash    unique keys of jobs that a clear has renamed, until their removal
--    outputs              hash    id -> JSON: the last lines that the last failed run of the job printed
-- Times are µs since 1970 by this server's clock.
-- reply on refusal: error AINTKEY (a key of a foreign type) or AINTSCHEMA (another layout version)
local SCHEMA, RECORDS, WAITING, DELAYED, FAILED, OWNERS, DEAD, SEQS, STATS, UNIQUE, NOTIFY, CLEARING =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local HIGH, LOW, LOCKS = KEYS[13], KEYS[14], KEYS[15]
-- Index of the script's first own key.
local OWN = 16
-- Existing keys, by index.
local there = {}
do
  local kinds = {
    'string', 'hash', 'list', 'zset', 'zset', 'zset', 'zset', 'hash', 'hash', 'hash', 'list', 'hash',
    'list', 'list', 'zset',
  }
  for i = 1, OWN - 1 do
    local kind = redis.call('TYPE', KEYS[i]).ok
    there[i] = kind ~= 'none'
    if there[i] and kind ~= kinds[i] then
      return redis.error_reply('AINTKEY ' .. KEYS[i] .. ' is a ' .. kind .. ' where a ' .. kinds[i] .. ' belongs')
    end
  end
end
local schema = redis.call('GET', SCHEMA)
if schema and schema ~= '1' and schema ~= '2' and schema ~= '3' then
  return redis.error_reply('AINTSCHEMA ' .. schema)
end
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

local function push(ARGV)
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
end

-- cjson accepts some texts that are not JSON; such jobs would end in `failed` as malformed, so they are refused here.
local function is_utf8(value)
  if not string.find(value, '[\128-\255]') then
    return true
  end
  for _, sequence in ipairs({
    '[\194-\223][\128-\191]', '\224[\160-\191][\128-\191]', '[\225-\236\238\239][\128-\191][\128-\191]',
    '\237[\128-\159][\128-\191]', '\240[\144-\191][\128-\191][\128-\191]',
    '[\241-\243][\128-\191][\128-\191][\128-\191]', '\244[\128-\143][\128-\191][\128-\191]',
  }) do
    value = string.gsub(value, sequence, '_')
  end
  return not string.find(value, '[\128-\255]')
end

-- The text with U+FFFD in place of each half of a character (\ud83d alone), which cjson and many JSON readers refuse.
local function with_whole_characters(value)
  local parts, from, at = {}, 1, string.find(value, '\\u[dD]%x%x%x') and 1
  while at do
    at = string.find(value, '\\', at, true)
    local is_high = at and string.find(value, '^u[dD][89abAB]%x%x', at + 1)
    if is_high and string.find(value, '^\\u[dD][c-fC-F]%x%x', at + 6) then
      at = at + 12
    elseif at and string.find(value, '^u[dD][89a-fA-F]%x%x', at + 1) then
      parts[#parts + 1] = string.sub(value, from, at - 1) .. '\\ufffd'
      at = at + 6
      from = at
    elseif at then
      at = at + 2
    end
  end
  return table.concat(parts) .. string.sub(value, from)
end

-- The reason why a text is not JSON, or nil and the parsed value.
local function read_json(value)
  if not is_utf8(value) then
    return 'it is not UTF-8'
  end
  local understood, found = pcall(cjson.decode, value)
  if not understood then
    return found
  end
  local unescaped = string.gsub(value, '\\.', '__')
  if string.find(value, '[%z\1-\31]') then
    for quoted in string.gmatch(unescaped, '"[^"]*"') do
      if string.find(quoted, '[%z\1-\31]') then
        return 'a string holds a control character: escape it'
      end
    end
  end
  local bare = string.gsub(unescaped, '"[^"]*"', '""')
  for _, number in ipairs({ '[xX]', '[nN][aA]', '[iI]', '%+%d', '%.%D', '%.$', '%D%.', '^%.', '%f[%w%.]0%d' }) do
    -- Exponents may have any sign and leading zeros.
    if string.find((string.gsub(bare, '[eE][+-]?', 'e')), number) then
      return 'a number is written as JSON does not write it'
    end
  end
  local _, opened = string.gsub(bare, '[%[{]', '')
  if opened > MAX_DEPTH then
    local depth = 0
    for bracket in string.gmatch(bare, '[%[%]{}]') do
      depth = depth + ((bracket == '[' or bracket == '{') and 1 or -1)
      if depth > MAX_DEPTH then
        return 'it is nested deeper than ' .. MAX_DEPTH .. ' levels: flatten it'
      end
    end
  end
  return nil, found
end

local name, payload, given = ARGV[1] or '', ARGV[2] or '', ARGV[3] or ''
if #ARGV < 2 or #ARGV > 3 then
  return wrong('arguments: there are ', #ARGV, '; give a name, a payload and, if any, options')
end
local path = '/' .. name .. '/'
local has_bad_part = string.find(path, '//', 1, true) or string.find(path, '/./', 1, true)
  or string.find(path, '/../', 1, true)
if #name > 128 or not string.find(name, '^[%w_.:@/\\-]+$') or has_bad_part then
  return wrong('name: it is not allowed: use 1 to 128 of the characters A-Z a-z 0-9 _ . : @ / - \\; a part of a path is ',
    'not empty, . or ..')
end
if #payload > MAX_PAYLOAD then
  return wrong('payload: it has ', #payload, ' bytes; at most ', MAX_PAYLOAD, ' are allowed: push a reference to the data')
end
payload = with_whole_characters(payload)
local why = read_json(payload)
if why then
  return wrong('payload: it is not valid JSON: ', why)
end

local option = {}
if given ~= '' then
  if #given > MAX_OPTIONS then
    return wrong('options: they have ', #given, ' bytes; at most ', MAX_OPTIONS, ' are allowed')
  end
  given = with_whole_characters(given)
  why, option = read_json(given)
  if why or not string.find(given, '^%s*{') then
    return wrong('options: give a JSON object: ', why or 'it is none')
  end
end
local known = {
  delay = 1, at = 1, max_attempts = 1, timeout = 1, unique = 1, unique_until = 1, unique_for = 1, priority = 1,
  expires = 1, expires_at = 1, retry_for = 1, retry_until = 1, headers = 1,
}
for key, value in pairs(option) do
  if not known[key] then
    return wrong('options: "', key, '" is not known; known are delay, at, max_attempts, timeout, unique, unique_until, ',
      'unique_for, priority, expires, expires_at, ' ..
      'retry_for, retry_until, headers')
  elseif value == cjson.null then
    option[key] = nil
  end
end
for _, pair in ipairs({
  { 'delay', 'at' }, { 'expires', 'expires_at' }, { 'retry_for', 'retry_until' }, { 'unique_until', 'unique_for' },
}) do
  if option[pair[1]] and option[pair[2]] then
    return wrong(pair[1], ': it and ', pair[2], ' exclude each other: keep one of the two')
  end
end

-- Times, converted to milliseconds or microseconds.
local time = now()
for _, key in ipairs({ 'delay', 'at', 'timeout', 'unique_for', 'expires', 'expires_at', 'retry_for', 'retry_until' }) do
  local value = option[key]
  if value then
    if type(value) ~= 'number' or not (value >= 0) then
      return wrong(key, ': give a number of seconds, from 0')
    end
    local is_point = key == 'at' or key == 'expires_at' or key == 'retry_until'
    if value * 1000000 > MAX_DELAY + (is_point and time or 0) then
      return wrong(key, ': it is more than ten years away')
    end
    local unit = (is_point or key == 'delay') and 1000000 or 1000
    option[key] = math.floor(value * unit + 0.5)
    if option[key] == 0 and value > 0 then
      option[key] = 1
    end
  end
end
local window = option.retry_until or (option.retry_for and time + option.retry_for * 1000)
if window and window <= math.max(time, option.at or time + (option.delay or 0)) then
  return wrong(option.retry_until and 'retry_until' or 'retry_for', ': the retry window ends before the job can start: ',
    'give a later time, or max_attempts = 1 for a job without retries')
end
local attempts = option.max_attempts
if attempts and not (type(attempts) == 'number' and attempts >= 1 and attempts < 4294967296 and attempts % 1 == 0) then
  return wrong('max_attempts: give a whole number, at least 1')
end
local unique = option.unique
if unique and (type(unique) ~= 'string' or #unique < 1 or #unique > MAX_KEY) then
  return wrong('unique: give a text of 1 to ', MAX_KEY, ' bytes')
end
local own = unique and 1 or 0
if #KEYS ~= #NAMES + own or (unique and KEYS[#KEYS] ~= prefix .. 'unique:' .. unique) then
  return wrong('keys: there are ', #KEYS, '; give the ', #NAMES, ' of the channel', unique and ' and, last, ' or '',
    unique and prefix .. 'unique:' .. unique or '')
end
if not unique and (option.unique_until or option.unique_for) then
  return wrong('unique_until and unique_for: they say how long a key is held: add unique, the key')
end
if option.unique_until and option.unique_until ~= 'start' and option.unique_until ~= 'end' then
  return wrong('unique_until: give "start" or "end"')
end
if option.unique_for == 0 then
  return wrong('unique_for: it is zero: leave it out, or make it at least a millisecond')
end
local priority = option.priority or 'normal'
if priority ~= 'high' and priority ~= 'normal' and priority ~= 'low' then
  return wrong('priority: give "high", "normal" or "low"')
end
local headers, names, bytes = option.headers or {}, {}, 0
if type(headers) ~= 'table' then
  return wrong('headers: give an object of texts')
end
for key, value in pairs(headers) do
  if type(key) ~= 'string' or type(value) ~= 'string' then
    return wrong('headers: give an object of texts')
  elseif #key > 64 or not string.find(key, '^[%l%d_.-]+$') then
    return wrong('headers: a name is not allowed: use 1 to 64 of the characters a-z 0-9 _ . -')
  elseif string.find(value, '[%z\1-\31\127]') or string.find(value, '\194[\128-\159]') then
    return wrong('headers: "', key, '" has a control character in its value: encode it')
  end
  names[#names + 1] = key
  bytes = bytes + #key + #value
end
if #names > MAX_HEADERS or bytes > MAX_HEADER_BYTES then
  return wrong('headers: there are ', #names, ' with ', bytes, ' bytes; at most ', MAX_HEADERS, ' with ',
    MAX_HEADER_BYTES, ' bytes are allowed')
end

-- The record, with exact numbers.
local meta = { '"job":' .. cjson.encode(name) }
local function add(key, value)
  meta[#meta + 1] = value and '"' .. key .. '":' .. value or nil
end
local function number(value)
  return value and text(value)
end
add('max_attempts', number(attempts))
add('retry_for_ms', number(option.retry_for))
add('retry_until', number(option.retry_until))
add('timeout_ms', number(option.timeout))
add('unique', unique and cjson.encode(unique))
add('unique_until', option.unique_until == 'start' and '"start"')
add('unique_for_ms', number(option.unique_for))
add('priority', priority ~= 'normal' and '"' .. priority .. '"')
if option.delay and option.delay > 0 then
  add('delay_ms', number(math.max(1, math.floor(option.delay / 1000))))
end
add('ready_at', number(option.at))
add('expires_in_ms', number(option.expires))
add('expires_at', number(option.expires_at))
if #names > 0 then
  table.sort(names)
  local pairs_of = {}
  for n, key in ipairs(names) do
    pairs_of[n] = cjson.encode(key) .. ':' .. cjson.encode(headers[key])
  end
  add('headers', '{' .. table.concat(pairs_of, ',') .. '}')
end
local record = '{' .. table.concat(meta, ',') .. '}\n' .. string.gsub(payload, '[\r\n]', ' ')

-- The limits of the configuration, which masters record. A job whose key is held is not added.
local limits = redis.call('HMGET', STATS, 'max_waiting', 'max_bytes')
local limit, most, bytes = tonumber(limits[1]), tonumber(limits[2]), live('bytes')
-- A count that another program has put wrong keeps no empty channel closed.
if most and redis.call('HLEN', RECORDS) == 0 then
  bytes = 0
end
local adds = not ((limit or most) and unique and holder(unique, KEYS[#KEYS]))
if most and adds and #record > most then
  return redis.error_reply('AINTARG the job can never fit into the channel: it takes ' .. #record .. ' bytes, and max_bytes allows '
    .. text(most) .. ': push a smaller job, or raise max_bytes')
end
if most and adds and bytes + #record > most then
  return redis.error_reply('AINTFULL the channel is full: its jobs take ' .. text(bytes) .. ' bytes, this one ' .. #record
    .. ', and max_bytes allows ' .. text(most) .. ': retry later, add workers, remove failed jobs, or raise max_bytes')
end
if limit and adds then
  local jobs = entries() + redis.call('ZCARD', DELAYED) - live('tombstones')
  if jobs + 1 > limit then
    return redis.error_reply('AINTFULL the channel is full: ' .. math.max(0, jobs) .. ' jobs wait, and max_waiting allows ' .. limit
      .. ': retry later, add workers, or raise max_waiting')
  end
end

local start = option.delay and '+' .. text(option.delay) or option.at and '@' .. text(option.at) or ''
local is_new = option.unique_until == 'start' or option.unique_for or priority ~= 'normal' or option.expires
  or option.expires_at or #names > 0
local reply = push({
  MAX_DELAY, MAX_LEAD, is_new and '2' or '1', 1, 1, start, unique or '', number(option.unique_for) or '', priority, record,
})
return { math.abs(reply[1]), reply[1] > 0 and 1 or 0 }
