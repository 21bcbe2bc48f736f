-- Claims locks and room in rates for jobs of their owner.
--
-- KEYS 16   the owner's reserved set
-- KEYS 17.. per claim of a rate, in order: the channel's prefix, "rate:", the rate's key
-- ARGV 1    owner
-- ARGV 2..  per claim: lock, id, key, limit, ''; or rate, id, key, spacing and slack in µs
-- reply     'LOST', or per claim -1 when granted, else the time to wait in µs, 0 when unknown
-- order     each claim by itself, granted or unchanged
--
-- Holders of a lock are pairs of owner and job; only those of living owners count. Each call removes a few entries of
-- dead owners.
local owner, time = ARGV[1], now()
if not redis.call('ZSCORE', OWNERS, owner) then
  return 'LOST'
end

-- Number of members of LOCKS with this prefix.
local function count(prefix)
  return redis.call('ZLEXCOUNT', LOCKS, '[' .. prefix, '(' .. prefix .. '\255')
end

local owners
local function lock(id, key, limit)
  local member, prefix = lock_of(key, owner, id), holders_of(key)
  if redis.call('ZSCORE', LOCKS, member) then
    return -1
  end
  local had = count(prefix)
  if had >= limit then
    had, owners = 0, owners or redis.call('ZRANGE', OWNERS, 0, -1)
    for _, name in ipairs(owners) do
      had = had + count(prefix .. name .. ' ')
    end
  end
  if had >= limit then
    return 0
  end
  redis.call('ZADD', LOCKS, '0', member)
  return -1
end

-- The stored value of a rate is the time at which it is unused again; same rules as limits/rate.rs.
local function rate(name, spacing, slack)
  local ahead = math.max(0, (tonumber(redis.call('GET', name)) or 0) - time)
  ahead = math.min(ahead, slack + spacing)
  if ahead > slack then
    return ahead - slack
  end
  ahead = ahead + spacing
  redis.call('SET', name, text(time + ahead), 'PX', text(math.ceil(ahead / 1000)))
  return -1
end

local answers, rates, locks = {}, 0, 0
for n = 2, #ARGV, 5 do
  local kind, id, key, number = ARGV[n], ARGV[n + 1], ARGV[n + 2], tonumber(ARGV[n + 3])
  local answer
  if kind == 'lock' then
    locks = locks + 1
  else
    rates = rates + 1
  end
  if redis.call('SISMEMBER', KEYS[OWN], id) == 0 then
    answer = 0
  elseif kind == 'lock' then
    answer = lock(id, key, number)
  else
    answer = rate(KEYS[OWN + rates], number, tonumber(ARGV[n + 4]))
  end
  answers[#answers + 1] = answer
end

-- More than this call can have added, so that entries of dead owners cannot accumulate.
if locks > 0 then
  local living = {}
  for _, member in ipairs(redis.call('ZRANDMEMBER', LOCKS, 3 * locks)) do
    local name = string.match(member, ' (%S+) %d+$')
    if name then
      if living[name] == nil then
        living[name] = redis.call('ZSCORE', OWNERS, name) and true or false
      end
      if not living[name] then
        redis.call('ZREM', LOCKS, member)
      end
    end
  end
end
return answers
