-- Keeps job_bytes right, whatever version of aint-queue changes the file, and for the statements of other programs except REPLACE. Present
-- once a channel of the file has a limit of bytes, so that other files pay nothing.
--
-- A job that aint-queue removes leaves "jobs" first, so its record and its output are subtracted there and their own deletes find no
-- channel. The length of a blob, because SQLite before 3.43 has no octet_length, and other programs may use such a one.

CREATE TRIGGER IF NOT EXISTS record_added AFTER INSERT ON records BEGIN
    UPDATE job_bytes SET bytes = bytes + length(CAST(NEW.meta AS BLOB)) + 1 + length(CAST(NEW.payload AS BLOB))
    WHERE channel = (SELECT l.channel FROM jobs j JOIN lanes l ON l.id = j.lane WHERE j.id = NEW.id);
END;

CREATE TRIGGER IF NOT EXISTS record_changed AFTER UPDATE ON records BEGIN
    UPDATE job_bytes SET bytes = bytes + length(CAST(NEW.meta AS BLOB)) + length(CAST(NEW.payload AS BLOB))
        - length(CAST(OLD.meta AS BLOB)) - length(CAST(OLD.payload AS BLOB))
    WHERE channel = (SELECT l.channel FROM jobs j JOIN lanes l ON l.id = j.lane WHERE j.id = NEW.id);
END;

CREATE TRIGGER IF NOT EXISTS record_removed AFTER DELETE ON records BEGIN
    UPDATE job_bytes SET bytes = bytes - length(CAST(OLD.meta AS BLOB)) - 1 - length(CAST(OLD.payload AS BLOB))
    WHERE channel = (SELECT l.channel FROM jobs j JOIN lanes l ON l.id = j.lane WHERE j.id = OLD.id);
END;

CREATE TRIGGER IF NOT EXISTS output_added BEFORE INSERT ON outputs BEGIN
    UPDATE job_bytes SET bytes = bytes + length(CAST(NEW.text AS BLOB))
        - coalesce((SELECT length(CAST(text AS BLOB)) FROM outputs WHERE id = NEW.id), 0)
    WHERE channel = (SELECT l.channel FROM jobs j JOIN lanes l ON l.id = j.lane WHERE j.id = NEW.id);
END;

CREATE TRIGGER IF NOT EXISTS output_removed AFTER DELETE ON outputs BEGIN
    UPDATE job_bytes SET bytes = bytes - length(CAST(OLD.text AS BLOB))
    WHERE channel = (SELECT l.channel FROM jobs j JOIN lanes l ON l.id = j.lane WHERE j.id = OLD.id);
END;

CREATE TRIGGER IF NOT EXISTS job_removed AFTER DELETE ON jobs BEGIN
    UPDATE job_bytes SET bytes = bytes
        - coalesce((SELECT length(CAST(meta AS BLOB)) + 1 + length(CAST(payload AS BLOB)) FROM records WHERE id = OLD.id), 0)
        - coalesce((SELECT length(CAST(text AS BLOB)) FROM outputs WHERE id = OLD.id), 0)
    WHERE channel = (SELECT channel FROM lanes WHERE id = OLD.lane);
END;
