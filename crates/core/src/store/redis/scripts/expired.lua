-- Owners to reap: ended ones that still have jobs, and ones with an expired lease.
--
-- reply  names, at most 200
local names = redis.call('ZRANGE', DEAD, 0, 99)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', OWNERS, '-inf', text(now()), 'LIMIT', 0, 100)) do
  names[#names + 1] = name
end
return names
