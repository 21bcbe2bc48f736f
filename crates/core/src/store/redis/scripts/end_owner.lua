-- Ends an owner: from now on every call of it answers LOST. Its jobs are then given back by free.lua.
--
-- KEYS 16  its reserved set
-- ARGV 1   owner
-- ARGV 2   leave (it says so itself), force (it is known to be dead), expired (if its lease has run out)
-- reply    'LOST' to an owner that leaves and is gone already, 'NONE' when there is nothing to end, or
--          {whether it left by itself (1 or 0), now, ids it held}
-- order    the new place (dead) before the old (owners, seqs); an owner without jobs needs no place
local owner, how, time = ARGV[1], ARGV[2], now()
local died = redis.call('ZSCORE', DEAD, owner)
if died and how == 'leave' then
  return 'LOST'
end
if not died then
  local deadline = tonumber(redis.call('ZSCORE', OWNERS, owner))
  if how == 'leave' and not deadline then
    return 'LOST'
  end
  if how == 'expired' and not (deadline and deadline <= time) then
    return 'NONE'
  end
  if how == 'force' and not deadline and redis.call('EXISTS', KEYS[OWN]) == 0 then
    return 'NONE'
  end
  died = how == 'leave' and '0' or text(time)
  redis.call('ZADD', DEAD, died, owner)
  redis.call('ZREM', OWNERS, owner)
  redis.call('HDEL', SEQS, owner)
end
local ids = redis.call('SMEMBERS', KEYS[OWN])
if #ids == 0 then
  redis.call('ZREM', DEAD, owner)
end
return { tonumber(died) == 0 and 1 or 0, time, ids }
