-- Fragment, behind the checks: a call that carries a seq.
--
-- renew_lease answers 'LOST' when the owner is not among the living, 'REPLAYED' when seq is not above its last one;
-- nothing has changed then. Else it answers nil, and the owner has a full lease from now.
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
