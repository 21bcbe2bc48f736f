-- Fragment, after check.lua: KEYS 13 and on are sets of reserved ids, one per owner.
for i = 13, #KEYS do
  local kind = redis.call('TYPE', KEYS[i]).ok
  if kind ~= 'set' and kind ~= 'none' then
    return redis.error_reply('AINTKEY ' .. KEYS[i] .. ' is a ' .. kind .. ' where a set belongs')
  end
end
