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
