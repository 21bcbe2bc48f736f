-- Takes entries that are no jobs out of an owner's set: texts that are no ids move to failed, and ids without a record are removed.
--
-- KEYS 16  the owner's reserved set
-- ARGV 1   owner
-- ARGV 2   largest distance of an id from the clock, as for push.lua
-- ARGV 3.. per entry: its name, its new meta
-- reply    {number of entries moved to failed, ids that were removed}; names no longer in the set are skipped
-- order    see lib/foreign_entries.lua; then SREM; an ended owner disappears with its last entry
local time = now()
local names, entries, gone = {}, {}, {}
for n = 3, #ARGV, 2 do
  local name = ARGV[n]
  if redis.call('SISMEMBER', KEYS[OWN], name) == 1 then
    local record = redis.call('HGET', RECORDS, name)
    names[#names + 1] = name
    if record or not is_id(name) then
      entries[#entries + 1] = { name, record, ARGV[n + 1], time }
    else
      gone[#gone + 1] = name
    end
  end
end
keep_as_failed(entries, time, tonumber(ARGV[2]))
if #names > 0 then
  redis.call('SREM', KEYS[OWN], unpack(names))
end
if redis.call('EXISTS', KEYS[OWN]) == 0 then
  redis.call('ZREM', DEAD, ARGV[1])
end
return { #entries, gone }
