-- Fragment, after the checks: scripts that must tell waiting from reserved jobs get all owners.
--
-- KEYS 16 and on  the reserved sets of the owners in ARGV; keys of the script's own may follow
-- ARGV 1          number of owners
-- ARGV 2 and on   their names, in the order of the keys; the script's own arguments start at ARGV[FIRST]
-- reply           {'OWNERS', {name, ...}} when owners are missing: call again with these
local FIRST = 2 + tonumber(ARGV[1])
do
  local given = {}
  for i = 2, FIRST - 1 do
    given[ARGV[i]] = true
  end
  local names, complete = redis.call('ZRANGE', OWNERS, 0, -1), true
  for _, name in ipairs(redis.call('ZRANGE', DEAD, 0, -1)) do
    names[#names + 1] = name
  end
  for _, name in ipairs(names) do
    complete = complete and given[name]
  end
  if not complete then
    return { 'OWNERS', names }
  end
end

-- Whether a clear removes a job that is in no other place. The lists of waiting have no index: after a million entries the rest of
-- the jobs of a call counts as waiting.
local depth = 1000000
local function is_cleared(id)
  for _, name in ipairs(there[12] and redis.call('HKEYS', CLEARING) or {}) do
    local key, found = string.sub(SCHEMA, 1, -7) .. 'clearing:' .. name, false
    if string.sub(name, 1, 8) ~= 'waiting:' then
      found = redis.pcall('ZSCORE', key, id)
    elseif depth > 0 then
      found = redis.pcall('LPOS', key, id, 'MAXLEN', depth)
      local length = redis.pcall('LLEN', key)
      depth = depth - (type(length) == 'number' and length or 0)
    end
    -- A key of another program gives an error, a table.
    if found and type(found) ~= 'table' then
      return true
    end
  end
  return false
end

-- The state of a stored job, and its score there; nil for a job that a clear removes.
local function place(id)
  local score = redis.call('ZSCORE', DELAYED, id)
  if score then
    return 'delayed', score
  end
  score = redis.call('ZSCORE', FAILED, id)
  if score then
    return 'failed', score
  end
  for i = OWN, OWN + tonumber(ARGV[1]) - 1 do
    if redis.call('SISMEMBER', KEYS[i], id) == 1 then
      return 'reserved', '0'
    end
  end
  if is_cleared(id) then
    return nil
  end
  return 'waiting', '0'
end
