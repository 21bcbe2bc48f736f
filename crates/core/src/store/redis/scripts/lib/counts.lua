-- Fragment: the job counts, as a function. They always add up: a stored job in no other state is reserved. Needs lib/pause_state.lua.
--
-- A job in a renamed list or zset counts as cleared.
local function counts()
  local stats = redis.call('HMGET', STATS, 'clearing_tombstones', 'clearing_waiting', 'clearing_delayed', 'clearing_failed',
    'done', 'cleared', 'paused', 'clock')
  local function stat(n)
    return tonumber(stats[n]) or 0
  end
  local time = now()
  local till = pause(stats[7], time)
  local waiting = math.max(0, entries() - live('tombstones'))
  local delayed, failed = redis.call('ZCARD', DELAYED), redis.call('ZCARD', FAILED)
  local clearing = there[12] and math.max(0, stat(2) + stat(3) + stat(4) - stat(1)) or 0
  local reserved = math.max(0, redis.call('HLEN', RECORDS) - waiting - delayed - failed - clearing)
  -- Entries of another program have no record, so the difference alone is too small beside them.
  if waiting + delayed + failed > 0 then
    local held = 0
    for _, set in ipairs(reserved_sets()) do
      local count = redis.pcall('SCARD', set)
      held = held + (type(count) == 'number' and count or 0)
    end
    reserved = math.max(reserved, held)
  end
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
  return { waiting, reserved, delayed, stat(5), failed, stat(6) + clearing, till and 1 or 0, till or 0,
    stat(8), next_due() or 0, time, schema == '3' and live('bytes') + 1 or 0, fronts }
end
