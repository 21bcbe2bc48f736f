-- Counts the records that no list and no set leads to: another program has deleted or changed one. No call leases, lists or
-- removes their jobs, and the job counts take them for reserved.
--
-- KEYS and ARGV 1 and on  see lib/all_owners.lua
-- reply  the number
local stats = redis.call('HMGET', STATS, 'tombstones', 'clearing_waiting', 'clearing_delayed', 'clearing_failed')
local function stat(n)
  return tonumber(stats[n]) or 0
end
local listed = math.max(0, entries() + stat(2) - stat(1)) + math.max(0, redis.call('ZCARD', DELAYED) + stat(3))
  + math.max(0, redis.call('ZCARD', FAILED) + stat(4))
for i = OWN, #KEYS do
  listed = listed + redis.call('SCARD', KEYS[i])
end
return math.max(0, redis.call('HLEN', RECORDS) - listed)
