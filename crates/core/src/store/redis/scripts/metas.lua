-- Metas of jobs, without payloads.
--
-- ARGV 1   all, or unique: only of jobs with a unique key, '' for the others
-- ARGV 2.. ids
-- reply    per id its meta, '' without one; {} for unique when no key is held at all
local unique = ARGV[1] == 'unique'
local metas = {}
if unique and redis.call('HLEN', UNIQUE) == 0 then
  return metas
end
for n = 2, #ARGV do
  local meta = meta_of(redis.call('HGET', RECORDS, ARGV[n]))
  if unique and not string.find(meta, '"unique"', 1, true) then
    meta = ''
  end
  metas[n - 1] = meta
end
return metas
