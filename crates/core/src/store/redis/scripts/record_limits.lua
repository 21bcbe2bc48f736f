-- Records the limits of the channel, for producers that do not read the configuration (producer.lua). The first limit of bytes
-- begins their count, which goes on for good: all records are read once.
--
-- KEYS 16  the outputs
-- ARGV 1   most waiting and delayed jobs      ARGV 2  most bytes of records and outputs; '' for no limit
-- reply    1
-- order    bytes before the layout that says they are counted
local function size(hash)
  local cursor, bytes = '0', 0
  repeat
    -- Values have at most 1 MiB, so a step reads 64 MiB at most.
    local page = redis.call('HSCAN', hash, cursor, 'COUNT', 64)
    cursor = page[1]
    for n = 2, #page[2], 2 do
      bytes = bytes + #page[2][n]
    end
  until cursor == '0'
  return bytes
end

if ARGV[2] ~= '' and schema ~= '3' then
  redis.call('HSET', STATS, 'bytes', text(size(RECORDS) + size(KEYS[OWN])))
  raise_layout('3')
end
for n, name in ipairs({ 'max_waiting', 'max_bytes' }) do
  if ARGV[n] == '' then
    redis.call('HDEL', STATS, name)
  elseif redis.call('HGET', STATS, name) ~= ARGV[n] then
    raise_layout('1')
    redis.call('HSET', STATS, name, ARGV[n])
  end
end
return 1
