-- The owners whose jobs are to be freed: those that ended and still have some, those whose lease has run out.
--
-- reply  names, at most 200
local names = redis.call('ZRANGE', DEAD, 0, 99)
for _, name in ipairs(redis.call('ZRANGEBYSCORE', OWNERS, '-inf', text(now()), 'LIMIT', 0, 100)) do
  names[#names + 1] = name
end
return names
