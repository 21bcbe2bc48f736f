-- The job counts. They always add up: a stored job in no other state is reserved.
--
-- reply  {waiting, reserved, delayed, done, failed, cleared, paused, end of the pause or 0, highest time that the clock has
--        shown, due time of the next delayed job or 0, now, 1 more than the bytes of all jobs or 0 while they are not counted, {id and meta of the front job of each priority that has one}}
-- A job in a renamed list or zset counts in its old state until its record is removed.
local stats = redis.call('HMGET', STATS, 'tombstones', 'clearing_waiting', 'clearing_delayed', 'clearing_failed',
  'done', 'cleared', 'paused', 'clock', 'bytes')
local function stat(n)
  return tonumber(stats[n]) or 0
end
local time = now()
local till = pause(stats[7], time)
local waiting = math.max(0, entries() + stat(2) - stat(1))
local delayed = math.max(0, redis.call('ZCARD', DELAYED) + stat(3))
local failed = math.max(0, redis.call('ZCARD', FAILED) + stat(4))
local reserved = math.max(0, redis.call('HLEN', RECORDS) - waiting - delayed - failed)
-- The front job of a list, behind at most 15 tombstones.
local fronts = {}
for place = 1, 3 do
  for _, id in ipairs(filled[place] and redis.call('LRANGE', LISTS[place], 0, 15) or {}) do
    local record = redis.call('HGET', RECORDS, id)
    if record then
      fronts[#fronts + 1] = id
      fronts[#fronts + 1] = meta_of(record)
      break
    end
  end
end
return { waiting, reserved, delayed, stat(5), failed, stat(6), till and 1 or 0, till or 0,
  stat(8), next_due() or 0, time, schema == '3' and stat(9) + 1 or 0, fronts }
