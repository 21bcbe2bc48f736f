-- Asks for locks and for room in rates, each for a job that its owner holds.
--
-- KEYS 16   the owner's reserved set
-- KEYS 17.. per claim of a rate, in their order: the channel's prefix, "rate:", the rate's key
-- ARGV 1    owner
-- ARGV 2..  per claim: lock, id, key, limit, ''; or rate, id, key, count, µs
-- reply     'LOST', or per claim -1 when it is granted, else after how many µs there is room again, 0 if nobody knows
-- order     each claim by itself, granted or left as it was
--
-- A lock is had by pairs of owner and job, and only those of living owners count. What dead ones have left is
-- removed a few at a time, with each call, wherever it is met.
local owner, time = ARGV[1], now()
if not redis.call('ZSCORE', OWNERS, owner) then
  return 'LOST'
end

-- How many members of LOCKS begin like this.
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

-- The generic cell rate algorithm. What is kept is when the rate will be empty again: whole µs, and parts of a µs
-- of which `most` make one, so that nothing is lost by rounding.
local function rate(name, most, per)
  local kept = redis.call('GET', name)
  local whole, parts, of = time, 0, most
  if kept then
    whole, parts, of = string.match(kept, '^(%d+) (%d+) (%d+)$')
    whole, parts, of = tonumber(whole) or time, tonumber(parts) or 0, tonumber(of)
    if of ~= most and parts > 0 then
      -- The rate was changed.
      whole, parts = whole + 1, 0
    end
    if whole < time then
      whole, parts = time, 0
    elseif whole >= time + per then
      -- Never fuller than full, also when the rate was changed or the clock stepped back.
      whole, parts = time + per, 0
    end
  end
  local share = per % most
  whole, parts = whole + (per - share) / most, parts + share
  if parts >= most then
    whole, parts = whole + 1, parts - most
  end
  local empty = parts > 0 and whole + 1 or whole
  if empty > time + per then
    return empty - time - per
  end
  redis.call('SET', name, text(whole) .. ' ' .. text(parts) .. ' ' .. text(most), 'PX',
    text(math.ceil((empty - time) / 1000)))
  return -1
end

local answers, rates, locks = {}, 0, 0
for n = 2, #ARGV, 5 do
  local kind, id, key, most = ARGV[n], ARGV[n + 1], ARGV[n + 2], tonumber(ARGV[n + 3])
  local answer
  if kind == 'lock' then
    locks = locks + 1
  else
    rates = rates + 1
  end
  if redis.call('SISMEMBER', KEYS[OWN], id) == 0 then
    answer = 0
  elseif kind == 'lock' then
    answer = lock(id, key, most)
  else
    answer = rate(KEYS[OWN + rates], most, tonumber(ARGV[n + 4]))
  end
  answers[#answers + 1] = answer
end

-- More than the claims of this call can have added, so that what dead owners left cannot pile up.
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
