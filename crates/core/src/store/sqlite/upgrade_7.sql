-- From schema 6 to schema 7: the records of alerts. See schema.sql.

CREATE TABLE alerts (
    channel INTEGER NOT NULL,
    field   TEXT    NOT NULL,
    value   TEXT    NOT NULL,
    PRIMARY KEY (channel, field)
) STRICT, WITHOUT ROWID;
