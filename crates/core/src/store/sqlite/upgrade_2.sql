-- From schema 1 to schema 2: priorities, timed holds on unique keys, locks and rates. See schema.sql.
--
-- Ranks of waiting jobs in schema 1 lie around zero, the band of normal jobs.

ALTER TABLE jobs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;

CREATE TABLE holds (
    key   TEXT    NOT NULL PRIMARY KEY,
    job   INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX holds_by_until ON holds (until);

CREATE TABLE locks (
    key   TEXT    NOT NULL,
    owner TEXT    NOT NULL,
    job   INTEGER NOT NULL,
    PRIMARY KEY (key, owner, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX locks_by_owner ON locks (owner);

CREATE TABLE rates (
    key    TEXT    NOT NULL PRIMARY KEY,
    unused INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX rates_by_unused ON rates (unused);
