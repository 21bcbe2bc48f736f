-- Fragment, after the checks: calls with a seq.
--
-- renew_lease returns 'LOST' for an ended owner and 'REPLAYED' for a seq not above the last one, having changed nothing.
-- Otherwise it returns nil, and the owner has a full lease from now.
local function renew_lease(owner, seq, lease, time)
  if not redis.call('ZSCORE', OWNERS, owner) then
    return 'LOST'
  end
  if tonumber(seq) <= (tonumber(redis.call('HGET', SEQS, owner)) or 0) then
    return 'REPLAYED'
  end
  redis.call('ZADD', OWNERS, text(time + lease), owner)
  redis.call('HSET', SEQS, owner, seq)
end
