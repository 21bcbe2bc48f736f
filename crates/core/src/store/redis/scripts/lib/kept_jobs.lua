-- Fragment, after the checks: done jobs that are kept, in two keys of their own. Neither exists while no job is kept.
--
--    kept        zset  id by time of the settlement
--    kept:texts  hash  id -> JSON about the job; count and age: the limits of the last settlement, age in µs

-- The time of the youngest job that is too old.
local function kept_since(texts, time)
  local age = tonumber(redis.call('HGET', texts, 'age'))
  return age and time - age or -math.huge
end

-- Removes jobs above the limits, the oldest first, at most 500. Returns the number of removed jobs and of those that are left.
local function trim_kept(kept, texts, time)
  local limits = redis.call('HMGET', texts, 'count', 'age')
  local count, age = tonumber(limits[1]), tonumber(limits[2])
  local total, surplus = redis.call('ZCARD', kept), 0
  if count and age and total > 0 then
    -- Too many and too old are both the first jobs of the set.
    surplus = math.max(0, total - count, redis.call('ZCOUNT', kept, '-inf', text(time - age)))
    surplus = math.min(surplus, 500)
  end
  if surplus > 0 then
    local ids = redis.call('ZRANGE', kept, 0, surplus - 1)
    redis.call('HDEL', texts, unpack(ids))
    redis.call('ZREM', kept, unpack(ids))
    if surplus == total then
      redis.call('HDEL', texts, 'count', 'age')
    end
  end
  return surplus, total - surplus
end
