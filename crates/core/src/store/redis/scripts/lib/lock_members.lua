-- Fragment, behind the checks: how a lock's key and who has it make a member of LOCKS.
--
-- The members of one key, and those of one owner among them, stand together; the key's length makes sure that no
-- other key begins in the same way.
local function holders_of(key)
  return #key .. ' ' .. key .. ' '
end

local function lock_of(key, owner, id)
  return holders_of(key) .. owner .. ' ' .. id
end
