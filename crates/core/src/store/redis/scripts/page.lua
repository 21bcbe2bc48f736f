-- A page of waiting, delayed or failed.
--
-- ARGV 1  waiting (from the front), delayed (by due time), failed (newest first)
-- ARGV 2  most jobs, at least 1    ARGV 3  most bytes of records; one job always fits
-- ARGV 4  end of the previous page: for waiting the number of entries before this page, else the score of its last job;
--         '' for the first page
-- ARGV 5  for delayed and failed the id of that job
-- reply   {1 when there are more, else 0; ARGV 4 and 5 of the next page; then per job: id, score, record}, or
--         {'FOREIGN', entries of delayed or failed on this page that are no jobs}: call again after move_foreign.lua
local state, limit, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local score, id = ARGV[4], ARGV[5]

local start, length, found, width = 0, 0, {}, 2
if state == 'waiting' then
  start, width = tonumber(score) or 0, 1
  length = entries()
elseif state == 'delayed' then
  length = redis.call('ZCARD', DELAYED)
  if score ~= '' then
    start = before(DELAYED, score, id)
    if redis.call('ZRANGE', DELAYED, start, start)[1] == id then
      start = start + 1
    end
  end
else
  length = redis.call('ZCARD', FAILED)
  if score ~= '' then
    start = length - before(FAILED, score, id)
  end
end
if state == 'waiting' then
  -- The three lists as one.
  local before = 0
  for _, list in ipairs(LISTS) do
    local from = math.max(0, start - before)
    if #found < limit then
      for _, entry in ipairs(redis.call('LRANGE', list, from, from + limit - #found - 1)) do
        found[#found + 1] = entry
      end
      before = before + redis.call('LLEN', list)
    end
  end
else
  local command = state == 'delayed' and 'ZRANGE' or 'ZREVRANGE'
  local key = state == 'delayed' and DELAYED or FAILED
  found = redis.call(command, key, start, start + limit - 1, 'WITHSCORES')
end

local page, bytes, passed, foreign = { 0, score, id }, 0, 0, {}
for n = 1, #found, width do
  if bytes >= most then
    break
  end
  passed = passed + 1
  local record = redis.call('HGET', RECORDS, found[n])
  local rank = width == 2 and found[n + 1] or '0'
  if width == 2 and not (record and is_id(found[n])) then
    foreign[#foreign + 1] = found[n]
  elseif record then
    bytes = bytes + #record
    page[#page + 1] = found[n]
    page[#page + 1] = rank
    page[#page + 1] = record
  end
  if width == 2 then
    page[2], page[3] = rank, found[n]
  end
end
if #foreign > 0 then
  return { 'FOREIGN', foreign }
end
if width == 1 then
  page[2], page[3] = text(start + passed), '0'
end
if start + passed < length then
  page[1] = 1
end
return page
