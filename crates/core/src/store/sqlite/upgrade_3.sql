-- From schema 2 to schema 3: the highest time that the clock has shown. See schema.sql.
--
-- Schema 2 gave no id more than a second ahead of the clock.

ALTER TABLE store ADD COLUMN clock INTEGER NOT NULL DEFAULT 0;

UPDATE store SET clock = last_id;
