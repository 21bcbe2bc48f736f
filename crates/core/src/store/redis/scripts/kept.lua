-- A page of the kept done jobs, newest first.
--
-- KEYS 16  kept    KEYS 17  kept:texts: see lib/kept_jobs.lua
-- ARGV 1   most jobs, at least 1    ARGV 2  most bytes of texts; one job always fits
-- ARGV 3   score and
-- ARGV 4   id of the last job of the previous page; '' for the first page
-- reply    {number of kept jobs; 1 when there are more, else 0; ARGV 3 and 4 of the next page; then per job: id, score, text}
local KEPT, TEXTS = KEYS[OWN], KEYS[OWN + 1]
local limit, most, score, id = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local total, start = redis.call('ZCARD', KEPT), 0
if score ~= '' then
  start = total - before(KEPT, score, id)
end
local since = kept_since(TEXTS, now())
local found = redis.call('ZREVRANGE', KEPT, start, start + limit - 1, 'WITHSCORES')
local page, bytes, passed, over = { total, 0, score, id }, 0, 0, false
for n = 1, #found, 2 do
  over = tonumber(found[n + 1]) <= since
  if over or bytes >= most then
    break
  end
  passed = passed + 1
  page[3], page[4] = found[n + 1], found[n]
  local kept = redis.call('HGET', TEXTS, found[n])
  if kept then
    bytes = bytes + #kept
    page[#page + 1] = found[n]
    page[#page + 1] = found[n + 1]
    page[#page + 1] = kept
  end
end
if not over and start + passed < total then
  page[2] = 1
end
return page
