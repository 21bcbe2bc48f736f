-- From schema 7 to schema 8: done jobs that are kept. See schema.sql.

CREATE TABLE kept (
    id      INTEGER PRIMARY KEY,
    channel INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    text    TEXT    NOT NULL
) STRICT;

CREATE INDEX kept_by_time ON kept (channel, at, id);

CREATE TABLE kept_limits (
    channel INTEGER PRIMARY KEY,
    jobs    INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    age     INTEGER NOT NULL
) STRICT;
