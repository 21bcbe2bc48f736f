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

-- The state of a stored job, and its score there.
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
  return 'waiting', '0'
end
