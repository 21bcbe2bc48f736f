-- Moves entries of delayed or failed that are no jobs to failed under new ids, where commands can name them.
--
-- ARGV 1   delayed or failed
-- ARGV 2   largest distance of an id from the clock, as for push.lua
-- ARGV 3.. per entry: its name, its new meta
-- reply    number of moved entries; names that are gone, or are jobs by now, are skipped
-- order    see lib/foreign_entries.lua; then ZREM
local time, from = now(), ARGV[1] == 'failed' and FAILED or DELAYED
local names, entries = {}, {}
for n = 3, #ARGV, 2 do
  local name = ARGV[n]
  local score = redis.call('ZSCORE', from, name)
  local record = score and redis.call('HGET', RECORDS, name)
  if score and not (record and is_id(name)) then
    names[#names + 1] = name
    -- A failed entry keeps its place, so that a command that reads page by page meets the new one.
    local at = from == FAILED and math.max(0, math.min(time, tonumber(score) or time)) or time
    entries[#entries + 1] = { name, record, ARGV[n + 1], at }
  end
end
keep_as_failed(entries, time, tonumber(ARGV[2]))
if #names > 0 then
  redis.call('ZREM', from, unpack(names))
end
return #names
