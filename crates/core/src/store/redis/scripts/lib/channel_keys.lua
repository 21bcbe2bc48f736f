-- Fragment, first in every script: names the channel's keys and refuses keys that are not ours.
--
-- KEYS 1-15  the channel's keys, always all of them, in this order (keys.rs):
--    1 schema    string  the layout's version: "2" once something is there that version 1 does not know, until then "1"
--    2 records   hash    id -> meta JSON .. "\n" .. payload JSON
--    3 waiting   list    ids of normal priority, the front first; may hold tombstones: ids whose record was removed
--    4 delayed   zset    id by due time
--    5 failed    zset    id by time of failure
--    6 owners    zset    living owner by lease deadline
--    7 dead      zset    ended owner whose jobs are not all freed, by time of death; 0 when it left by itself
--    8 seqs      hash    owner -> number of its last call
--    9 stats     hash    last_id, checked_to, done, cleared, tombstones, clearing_<state>,
--                        paused: 1 until it is ended, else until when,
--                        priorities: there was a job of high or low priority
--   10 unique    hash    unique key -> id, until that job has ended or started
--   11 notify    list    at most one token: something may be there to lease
--   12 clearing  hash    name -> state, of the lists and zsets a clear has put aside
--   13 waiting:high  list  as waiting, leased before it
--   14 waiting:low   list  as waiting, leased after it
--   15 locks     zset    of score 0: what lib/lock_members.lua makes of a lock's key and who has it
-- KEYS 16 and on  what the head of each script says; among them, one for each key that is held for a time:
--    unique:<unique key>  string  id, for as long as the key is held
--    rate:<key>           string  when it is as good as unused again, until then
-- Times are µs since 1970 by this server's clock.
-- reply on refusal: error AINTKEY (a foreign type) or AINTSCHEMA (a layout of another version)
local SCHEMA, RECORDS, WAITING, DELAYED, FAILED, OWNERS, DEAD, SEQS, STATS, UNIQUE, NOTIFY, CLEARING =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local HIGH, LOW, LOCKS = KEYS[13], KEYS[14], KEYS[15]
-- The place of the first key that is the script's own.
local OWN = 16
-- Which of the keys exist, by their place.
local there = {}
do
  local kinds = {
    'string', 'hash', 'list', 'zset', 'zset', 'zset', 'zset', 'hash', 'hash', 'hash', 'list', 'hash',
    'list', 'list', 'zset',
  }
  for i = 1, OWN - 1 do
    local kind = redis.call('TYPE', KEYS[i]).ok
    there[i] = kind ~= 'none'
    if there[i] and kind ~= kinds[i] then
      return redis.error_reply('AINTKEY ' .. KEYS[i] .. ' is a ' .. kind .. ' where a ' .. kinds[i] .. ' belongs')
    end
  end
end
local schema = redis.call('GET', SCHEMA)
if schema and schema ~= '1' and schema ~= '2' then
  return redis.error_reply('AINTSCHEMA ' .. schema)
end
