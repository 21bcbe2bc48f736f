-- Renames whole states in one step: present jobs will be removed, later ones will not. From here on a renamed job holds no unique
-- key and is counted as cleared.
--
-- KEYS 16-20  new names of waiting, waiting:high, waiting:low, delayed and failed, never used before
-- KEYS 21     the place of unique keys that are released, see clear_keys.lua
-- ARGV 1-5    '1' for each state to clear, else ''
-- ARGV 6-10   the names of KEYS 16-20 in clearing; each begins with its state
-- reply       all names in clearing, those of an interrupted clear included
-- order       name and count are recorded before the key is renamed; unique keys follow, which clear_apply.lua releases too
local states = { 'waiting', 'waiting', 'waiting', 'delayed', 'failed' }
local keys = { WAITING, HIGH, LOW, DELAYED, FAILED }
for n = 1, 5 do
  local key = KEYS[OWN - 1 + n]
  if redis.call('EXISTS', key) == 1 then
    return redis.error_reply('AINTKEY ' .. key .. ' is there already')
  end
end
local RELEASED = KEYS[OWN + 5]
local kind = redis.call('TYPE', RELEASED).ok
if kind ~= 'hash' and kind ~= 'none' then
  return redis.error_reply('AINTKEY ' .. RELEASED .. ' is a ' .. kind .. ' where a hash belongs')
end

local sizes, size = {}, 0
for n = 1, 5 do
  sizes[n] = ARGV[n] ~= '' and redis.call(states[n] == 'waiting' and 'LLEN' or 'ZCARD', keys[n]) or 0
  size = size + sizes[n]
end
if size == 0 then
  return redis.call('HKEYS', CLEARING)
end
local waiting = sizes[1] + sizes[2] + sizes[3]
local releases = there[10] and waiting + sizes[4] > 0
local sets = releases and reserved_sets() or {}

-- Places of jobs that may hold keys: of those that stay, and of those that go.
local stay, go = {}, {}
for _, set in ipairs(sets) do
  stay[#stay + 1] = { 'SMEMBERS', set }
end
for n = 1, 4 do
  local side = sizes[n] > 0 and go or stay
  side[#side + 1] = n < 4 and { 'LRANGE', keys[n], 0, -1 } or { 'ZRANGE', keys[n], 0, -1 }
end

-- Pairs of unique key and id of the jobs in these places; nil when reading their records would take long.
local function keys_in(places)
  local size_of, count, bytes, found = { SMEMBERS = 'SCARD', LRANGE = 'LLEN', ZRANGE = 'ZCARD' }, 0, 0, {}
  for _, place in ipairs(places) do
    count = count + redis.call(size_of[place[1]], place[2])
  end
  if count > 5000 then
    return nil
  end
  for _, place in ipairs(places) do
    for _, id in ipairs(redis.call(unpack(place))) do
      bytes = bytes + redis.call('HSTRLEN', RECORDS, id)
      if bytes > 67108864 then
        return nil
      end
      local meta = meta_of(redis.call('HGET', RECORDS, id))
      meta = string.find(meta, '"unique"', 1, true) and read(meta)
      local key = meta and meta.unique
      if type(key) == 'string' and redis.call('HGET', UNIQUE, key) == id then
        found[#found + 1] = key
        found[#found + 1] = id
      end
    end
  end
  return found
end

-- The same for all jobs that go, by reading all keys.
local function keys_that_go()
  local cursor, found = '0', {}
  repeat
    local page = redis.call('HSCAN', UNIQUE, cursor, 'COUNT', 500)
    cursor = page[1]
    for n = 1, #page[2], 2 do
      local id = page[2][n + 1]
      local is_delayed = redis.call('ZSCORE', DELAYED, id)
      local stays = is_delayed and sizes[4] == 0 or not is_delayed and waiting == 0
      for _, set in ipairs(stays and {} or sets) do
        stays = stays or redis.call('SISMEMBER', set, id) == 1
      end
      if not stays then
        found[#found + 1] = page[2][n]
        found[#found + 1] = id
      end
    end
  until cursor == '0'
  return found
end

-- Usually waiting and delayed jobs go, and the few reserved ones stay: their keys move to a new hash. An earlier hash that is not yet
-- removed prevents that.
local kept = releases and kind == 'none' and keys_in(stay)
local released = releases and not kept and (keys_in(go) or keys_that_go()) or {}

local stats = redis.call('HMGET', STATS, 'tombstones', 'clearing_bytes', 'clearing_waiting', 'clearing_delayed', 'clearing_failed')
local function stat(n)
  return there[12] and tonumber(stats[n]) or 0
end
local share = size / math.max(size, redis.call('HLEN', RECORDS) - stat(3) - stat(4) - stat(5))
local bytes = stat(2) + math.floor(live('bytes') * share)
for n = 1, 5 do
  if sizes[n] > 0 then
    redis.call('HSET', CLEARING, ARGV[5 + n], states[n])
    redis.call('HINCRBY', STATS, 'clearing_' .. states[n], sizes[n])
    redis.call('RENAME', keys[n], KEYS[OWN - 1 + n])
  end
end
-- Tombstones are in waiting only, all of whose lists are renamed together.
if waiting > 0 then
  redis.call('HSET', STATS, 'clearing_tombstones', stats[1] or '0')
elseif not there[12] then
  redis.call('HDEL', STATS, 'clearing_tombstones')
end
-- An estimate by the number of jobs: reading the size of each would take as long as removing it.
if schema == '3' then
  redis.call('HSET', STATS, 'clearing_bytes', text(bytes))
end
if kept then
  redis.call('RENAME', UNIQUE, RELEASED)
  for n = 1, #kept, 500 do
    redis.call('HSET', UNIQUE, unpack(kept, n, math.min(n + 499, #kept)))
  end
end
for n = 1, #released, 2 do
  redis.call('HDEL', UNIQUE, released[n])
end
return redis.call('HKEYS', CLEARING)
