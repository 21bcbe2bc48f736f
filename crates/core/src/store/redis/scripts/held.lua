-- The ids held by an owner.
--
-- KEYS 16  the owner's reserved set
-- ARGV     1 owner, 2 seq, 3 lease in µs
-- reply    'LOST', 'REPLAYED', or the ids
local refused = renew_lease(ARGV[1], ARGV[2], tonumber(ARGV[3]), now())
return refused or redis.call('SMEMBERS', KEYS[OWN])
