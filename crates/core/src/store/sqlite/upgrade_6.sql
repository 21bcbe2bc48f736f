-- From schema 5 to schema 6: the summaries that masters publish. See schema.sql.

CREATE TABLE summaries (
    owner INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,
    text  TEXT    NOT NULL
) STRICT;

CREATE TRIGGER summary_ends_with_owner AFTER DELETE ON owners BEGIN
    DELETE FROM summaries WHERE owner = old.id;
END;
