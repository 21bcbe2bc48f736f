-- Fragment, after the checks: members of LOCKS, made from lock key, owner and job.
--
-- The members of one key, and among them those of one owner, are adjacent; the leading length keeps keys with a common
-- prefix apart.
local function holders_of(key)
  return #key .. ' ' .. key .. ' '
end

local function lock_of(key, owner, id)
  return holders_of(key) .. owner .. ' ' .. id
end
