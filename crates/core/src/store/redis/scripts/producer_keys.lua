local function wrong(...)
  return redis.error_reply('AINTARG ' .. table.concat({ ... }))
end
local prefix = string.match(KEYS[1] or '', '^([%w_.:/-]*aint%-queue:{[^{}]+}:)schema$')
for n, name in ipairs(NAMES) do
  if not prefix or KEYS[n] ~= prefix .. name then
    return wrong(
      'keys: key ', n, ' of ', #KEYS, ' is "', KEYS[n] or '', '"; the ', #NAMES, ' keys of one channel are needed, ',
      'aint-queue:{channel}: before each of ', table.concat(NAMES, ' ')
    )
  end
end
