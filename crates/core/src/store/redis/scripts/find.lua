-- Jobs by id, in any state.
--
-- KEYS 16.., ARGV 1..  all owners: see lib/all_owners.lua
-- ARGV FIRST           most bytes of records; one always fits
-- ARGV FIRST + 1 ..    ids
-- reply                {'OWNERS', names}, or {'JOBS', number of ids examined,
--                      then per existing job: id, state, score, record}
local jobs, bytes, seen = { 'JOBS', 0 }, 0, 0
for n = FIRST + 1, #ARGV do
  if bytes >= tonumber(ARGV[FIRST]) then
    break
  end
  seen = seen + 1
  local id = ARGV[n]
  local record = redis.call('HGET', RECORDS, id)
  local state, score
  if record then
    state, score = place(id)
  end
  if state then
    bytes = bytes + #record
    jobs[#jobs + 1] = id
    jobs[#jobs + 1] = state
    jobs[#jobs + 1] = score
    jobs[#jobs + 1] = record
  end
end
jobs[2] = seen
return jobs
