-- Fragment, first in every script: names the channel's keys and refuses foreign ones.
--
-- KEYS 1-15  all keys of the channel, in this order (keys.rs):
--    1 schema    string  layout version: "1"; "2" from the first data that version 1 does not know; "3" once bytes are counted
--    2 records   hash    id -> meta JSON .. "\n" .. payload JSON
--    3 waiting   list    ids of normal priority, front first; may contain tombstones: ids whose record was removed
--    4 delayed   zset    id by due time
--    5 failed    zset    id by time of failure
--    6 owners    zset    living owner by lease deadline
--    7 dead      zset    ended owner that still has jobs, by time of death; 0 for one that left
--    8 seqs      hash    owner -> number of its last call
--    9 stats     hash    last_id, checked_to, done, cleared, tombstones,
--                        clearing_<state>: the entries of the lists or zsets that clears have renamed, and
--                        clearing_tombstones, clearing_bytes: their part of tombstones and (an estimate) of bytes,
--                        clock: the highest time that the server's clock has shown,
--                        paused: 1 for no end, else the time of the end,
--                        priorities: set once a job had high or low priority,
--                        max_waiting: the limit of waiting and delayed jobs, if there is one,
--                        max_bytes: the limit of bytes, if there is one,
--                        bytes: from layout 3 on, the bytes of all records and outputs
--   10 unique    hash    unique key -> id, until the end or start of that job
--   11 notify    list    at most one token: work may be available
--   12 clearing  hash    name -> state, for each list or zset renamed by a clear to clearing:<name>
--   13 waiting:high  list  like waiting, leased before it
--   14 waiting:low   list  like waiting, leased after it
--   15 locks     zset    score 0: members made by lib/lock_members.lua from lock, owner and job
-- KEYS 16 and on  see the head of each script; among them, one for each timed hold and each rate, and the outputs:
--    unique:<unique key>  string  id, until the end of the hold
--    rate:<key>           string  the time at which the rate is unused again, until then
--    clearing:unique      hash    unique keys of jobs that a clear has renamed, until their removal
--    outputs              hash    id -> JSON: the last lines that the last failed run of the job printed
-- Times are µs since 1970 by this server's clock.
-- reply on refusal: error AINTKEY (a key of a foreign type) or AINTSCHEMA (another layout version)
local SCHEMA, RECORDS, WAITING, DELAYED, FAILED, OWNERS, DEAD, SEQS, STATS, UNIQUE, NOTIFY, CLEARING =
  KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10], KEYS[11], KEYS[12]
local HIGH, LOW, LOCKS = KEYS[13], KEYS[14], KEYS[15]
-- Index of the script's first own key.
local OWN = 16
-- Existing keys, by index.
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
if schema and schema ~= '1' and schema ~= '2' and schema ~= '3' then
  return redis.error_reply('AINTSCHEMA ' .. schema)
end
