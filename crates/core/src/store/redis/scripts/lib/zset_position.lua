-- Fragment, after the checks: positions in sorted sets.

-- Number of members before (score, id) in ascending order. Members of one score are ordered by id as text; there may be
-- very many of them, so the position is found by bisection.
local function before(key, score, id)
  local low = redis.call('ZCOUNT', key, '-inf', '(' .. score)
  local high = redis.call('ZCOUNT', key, '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if redis.call('ZRANGE', key, middle, middle)[1] < id then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end
