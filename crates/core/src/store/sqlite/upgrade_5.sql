-- From schema 4 to schema 5: the bytes of the jobs of some channels. See schema.sql.

CREATE TABLE job_bytes (
    channel INTEGER PRIMARY KEY,
    bytes   INTEGER NOT NULL
) STRICT;
