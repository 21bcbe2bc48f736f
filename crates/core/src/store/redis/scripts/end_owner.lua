-- Ends an owner: its later calls return LOST. free.lua then returns its jobs.
--
-- KEYS 16  the owner's reserved set
-- KEYS 17  the summaries, if this user may use them
-- ARGV 1   owner
-- ARGV 2   leave (own request), force (known to be dead), expired (only if its lease has expired)
-- reply    'LOST' to a leaving owner that has ended already, 'NONE' when there is nothing to end, or
--          {1 if it left at its own request, else 0; now; ids it held}
-- order    the new place (dead) before the old ones (owners, seqs); an owner without jobs needs no place
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
  if KEYS[OWN + 1] and redis.call('TYPE', KEYS[OWN + 1]).ok == 'hash' then
    redis.call('HDEL', KEYS[OWN + 1], owner)
  end
end
local ids = redis.call('SMEMBERS', KEYS[OWN])
if #ids == 0 then
  redis.call('ZREM', DEAD, owner)
end
return { tonumber(died) == 0 and 1 or 0, time, ids }
