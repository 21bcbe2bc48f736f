-- From schema 3 to schema 4: the lines that the last failed run of a job printed. See schema.sql.

CREATE TABLE outputs (
    id   INTEGER PRIMARY KEY,
    text TEXT NOT NULL
) STRICT;
