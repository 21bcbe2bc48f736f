-- Fragment, after the checks: entries of lists and sets that are no jobs, because another program has added them.

-- Whether a name is a job id as the client reads one: a whole number of 64 bits without leading zeros.
local function is_id(name)
  return string.find(name, '^%d+$') ~= nil and (name == '0' or string.byte(name) ~= 48)
    and (#name < 20 or #name == 20 and name <= '18446744073709551615')
end

-- Stores entries as failed jobs under new ids, because no call can name the entries themselves. An entry is {name, record or false,
-- new meta, time of the failure}; its record becomes the payload, its name when there is no record.
-- order: ids, new records, failed, unique keys, old records
local function keep_as_failed(entries, time, lead)
  if #entries == 0 then
    return
  end
  local next_id, record_ids = id_source(time, lead)
  local records, failed, freed, old, bytes = {}, {}, {}, {}, 0
  for _, entry in ipairs(entries) do
    local name, record, meta, at = unpack(entry)
    local id, new = text(next_id()), meta .. '\n' .. (record or name)
    bytes = bytes + #new
    if record then
      local read_meta = read(meta_of(record))
      if read_meta and type(read_meta.unique) == 'string' then
        freed[#freed + 1] = { read_meta.unique, name }
      end
      bytes = bytes - #record
      old[#old + 1] = name
    end
    records[#records + 1] = id
    records[#records + 1] = new
    failed[#failed + 1] = text(at)
    failed[#failed + 1] = id
  end
  raise_layout('1')
  record_ids()
  count_bytes(bytes)
  redis.call('HSET', RECORDS, unpack(records))
  redis.call('ZADD', FAILED, unpack(failed))
  for _, pair in ipairs(freed) do
    free(pair[1], pair[2])
  end
  if #old > 0 then
    redis.call('HDEL', RECORDS, unpack(old))
  end
end
