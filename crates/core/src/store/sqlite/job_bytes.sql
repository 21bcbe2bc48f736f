-- Keeps job_bytes right, whatever program and version changes the file. Present once a channel of the file has a limit of bytes,
-- so that other files pay nothing.
--
-- A removed job leaves "jobs" first, so its record and its output are subtracted there and its later deletes find no channel.

CREATE TRIGGER IF NOT EXISTS record_added AFTER INSERT ON records BEGIN
    UPDATE job_bytes SET bytes = bytes + octet_length(NEW.meta) + 1 + octet_length(NEW.payload)
    WHERE channel = (SELECT l.channel FROM jobs j JOIN lanes l ON l.id = j.lane WHERE j.id = NEW.id);
END;

CREATE TRIGGER IF NOT EXISTS record_changed AFTER UPDATE ON records BEGIN
    UPDATE job_bytes SET bytes = bytes + octet_length(NEW.meta) + octet_length(NEW.payload)
        - octet_length(OLD.meta) - octet_length(OLD.payload)
    WHERE channel = (SELECT l.channel FROM jobs j JOIN lanes l ON l.id = j.lane WHERE j.id = NEW.id);
END;

CREATE TRIGGER IF NOT EXISTS output_added BEFORE INSERT ON outputs BEGIN
    UPDATE job_bytes SET bytes = bytes + octet_length(NEW.text)
        - coalesce((SELECT octet_length(text) FROM outputs WHERE id = NEW.id), 0)
    WHERE channel = (SELECT l.channel FROM jobs j JOIN lanes l ON l.id = j.lane WHERE j.id = NEW.id);
END;

CREATE TRIGGER IF NOT EXISTS output_removed AFTER DELETE ON outputs BEGIN
    UPDATE job_bytes SET bytes = bytes - octet_length(OLD.text)
    WHERE channel = (SELECT l.channel FROM jobs j JOIN lanes l ON l.id = j.lane WHERE j.id = OLD.id);
END;

CREATE TRIGGER IF NOT EXISTS job_removed AFTER DELETE ON jobs BEGIN
    UPDATE job_bytes SET bytes = bytes
        - coalesce((SELECT octet_length(meta) + 1 + octet_length(payload) FROM records WHERE id = OLD.id), 0)
        - coalesce((SELECT octet_length(text) FROM outputs WHERE id = OLD.id), 0)
    WHERE channel = (SELECT channel FROM lanes WHERE id = OLD.lane);
END;
