-- Records of jobs held by an owner.
--
-- KEYS 16  the owner's reserved set
-- ARGV 1   owner
-- ARGV 2   most bytes of records; one always fits
-- ARGV 3.. ids
-- reply    'LOST', or {number of ids examined, ids that are held, their records (nil when missing)}
if not redis.call('ZSCORE', OWNERS, ARGV[1]) then
  return 'LOST'
end
local ids, records, bytes, seen = {}, {}, 0, 0
for n = 3, #ARGV do
  if bytes >= tonumber(ARGV[2]) then
    break
  end
  seen = seen + 1
  if redis.call('SISMEMBER', KEYS[OWN], ARGV[n]) == 1 then
    local record = redis.call('HGET', RECORDS, ARGV[n])
    ids[#ids + 1], records[#records + 1] = ARGV[n], record
    bytes = bytes + (record and #record or 0)
  end
end
return { seen, ids, records }
