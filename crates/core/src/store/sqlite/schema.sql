-- The store of aint-queue in one SQLite file, shared by any number of channels.
--
-- A job is two rows. "jobs" is small and holds the job's location: leasing, promoting and listing touch nothing else,
-- however large the payloads are. "records" is written at push and at the end of a run.
--
-- A lane (a bucket in the code) is an ordered set of jobs of one channel: its waiting, delayed or failed jobs, or the jobs
-- of one owner. A job is in exactly one lane. Each move adjusts the job counts of both lanes in the same transaction, so
-- the counts of a channel are a few rows and always add up. A clear replaces a lane by an empty one: the jobs of the old
-- lane are gone from that moment, and its rows are deleted in batches.

CREATE TABLE store (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    last_id INTEGER NOT NULL,                   -- the newest job id given in this file
    clock   INTEGER NOT NULL DEFAULT 0          -- the highest time that the clock has shown, in µs since 1970
) STRICT;

INSERT INTO store (one, last_id) VALUES (1, 0);

CREATE TABLE channels (
    id      INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL UNIQUE,
    waiting INTEGER NOT NULL,                   -- the lanes in force
    delayed INTEGER NOT NULL,
    failed  INTEGER NOT NULL,
    done    INTEGER NOT NULL DEFAULT 0,         -- finished since the channel began
    cleared INTEGER NOT NULL DEFAULT 0,         -- removed by a command since the channel began
    paused  INTEGER NOT NULL DEFAULT 0,         -- 1: until resumed, else the end of the pause in µs since 1970
    wakes   INTEGER NOT NULL DEFAULT 0          -- grows when work may have appeared
) STRICT;

CREATE TABLE lanes (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,  -- a number is never used again
    channel INTEGER NOT NULL,
    state   INTEGER NOT NULL,                   -- 0 cleared, 1 waiting, 2 delayed, 3 reserved, 4 failed,
                                                -- 5 reserved by an owner that was lost, 6 by one that left
    jobs    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX lanes_by_channel ON lanes (channel, state);

CREATE TABLE owners (
    id       INTEGER PRIMARY KEY,
    channel  INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    lane     INTEGER NOT NULL,                  -- the lane of the jobs that it holds
    seq      INTEGER NOT NULL,                  -- of its last call
    boot     TEXT    NOT NULL,                  -- the boot of this machine in which it renewed last
    deadline INTEGER NOT NULL,                  -- end of its lease, in µs since that boot (CLOCK_BOOTTIME)
    UNIQUE (channel, name)
) STRICT;

CREATE TABLE jobs (
    id   INTEGER PRIMARY KEY,
    lane INTEGER NOT NULL,
    rank INTEGER NOT NULL,                      -- waiting: place, front smallest; delayed: due; failed: when
    key  TEXT,                                  -- "channel:unique key" while this job holds it
    priority INTEGER NOT NULL DEFAULT 0         -- -1 high, 0 normal, 1 low; places in waiting lie in a band for each
) STRICT;

CREATE INDEX jobs_by_lane ON jobs (lane, rank);
CREATE UNIQUE INDEX jobs_by_key ON jobs (key) WHERE key IS NOT NULL;

CREATE TABLE records (
    id      INTEGER PRIMARY KEY,
    meta    TEXT NOT NULL,                      -- JSON: name, options, counts, errors
    payload TEXT NOT NULL                       -- as pushed
) STRICT;

CREATE TABLE outputs (                          -- apart from the records, so that leasing and listing do not read them
    id   INTEGER PRIMARY KEY,                   -- a job that has failed
    text TEXT NOT NULL                          -- JSON: the last lines that its last failed run printed
) STRICT;

CREATE TABLE job_bytes (                        -- channels that have or had a limit of bytes; kept by triggers, see job_bytes.sql
    channel INTEGER PRIMARY KEY,
    bytes   INTEGER NOT NULL                    -- of the records and outputs of its jobs
) STRICT;

CREATE TABLE holds (                            -- unique keys that are held for a time, also after the end of the job
    key   TEXT    NOT NULL PRIMARY KEY,         -- "channel:unique key"
    job   INTEGER NOT NULL,                     -- the job that took it
    until INTEGER NOT NULL                      -- in µs since 1970
) STRICT, WITHOUT ROWID;

CREATE INDEX holds_by_until ON holds (until);

CREATE TABLE locks (
    key   TEXT    NOT NULL,                     -- "channel:lock"
    owner TEXT    NOT NULL,                     -- by name: the number of an owner may be given again
    job   INTEGER NOT NULL,
    PRIMARY KEY (key, owner, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX locks_by_owner ON locks (owner);

CREATE TABLE rates (
    key    TEXT    NOT NULL PRIMARY KEY,        -- "channel:rate"
    unused INTEGER NOT NULL                     -- time at which the rate is unused again, in µs since 1970
) STRICT, WITHOUT ROWID;

CREATE INDEX rates_by_unused ON rates (unused);

CREATE TABLE summaries (                        -- apart from the owners, whose rows each turn rewrites
    owner INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,                     -- time of the publication, in µs since 1970
    text  TEXT    NOT NULL                      -- JSON: what the master tells about itself
) STRICT;

-- A trigger, so that the summary also ends with an owner that a process of an earlier version ends.
CREATE TRIGGER summary_ends_with_owner AFTER DELETE ON owners BEGIN
    DELETE FROM summaries WHERE owner = old.id;
END;

CREATE TABLE alerts (                           -- what masters record about the alerts of a channel
    channel INTEGER NOT NULL,
    field   TEXT    NOT NULL,                   -- lease, state, silence:<rule>, report:<watcher>
    value   TEXT    NOT NULL,
    PRIMARY KEY (channel, field)
) STRICT, WITHOUT ROWID;

CREATE TABLE kept (                             -- done jobs of channels that keep them: in no lane and in no count
    id      INTEGER PRIMARY KEY,
    channel INTEGER NOT NULL,
    at      INTEGER NOT NULL,                   -- time of the settlement, in µs since 1970
    text    TEXT    NOT NULL                    -- JSON: how the run went
) STRICT;

CREATE INDEX kept_by_time ON kept (channel, at, id);

CREATE TABLE kept_limits (                      -- channels with such jobs
    channel INTEGER PRIMARY KEY,
    jobs    INTEGER NOT NULL,                   -- number of its rows in kept
    count   INTEGER NOT NULL,                   -- most of them
    age     INTEGER NOT NULL                    -- most age in µs
) STRICT;
