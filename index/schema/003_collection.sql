-- Rows of what was deleted are let go of once all hosts know them (index/collection.h). meta has
-- two summaries for it: horizon, collected; and left: 1 if this host was left behind.

-- Row "seen" of a device: what its host knows, and its horizon.
CREATE TABLE seen (
  dev     INTEGER PRIMARY KEY,
  known   BLOB NOT NULL,
  horizon BLOB NOT NULL,
  dot_dev INTEGER, dot_n INTEGER, extra BLOB
);

CREATE TRIGGER seen_dot_insert AFTER INSERT ON seen WHEN new.dot_n IS NOT NULL BEGIN
  INSERT OR IGNORE INTO dot VALUES (new.dot_dev, new.dot_n, 9, new.dev);
END;
CREATE TRIGGER seen_dot_update AFTER UPDATE OF dot_n ON seen BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 9 AND key = old.dev;
  INSERT OR IGNORE INTO dot SELECT new.dot_dev, new.dot_n, 9, new.dev WHERE new.dot_n IS NOT NULL;
END;
CREATE TRIGGER seen_dot_delete AFTER DELETE ON seen WHEN old.dot_n IS NOT NULL BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 9 AND key = old.dev;
END;

-- Hosts whose word is waited for, by node key: since when, by this host's clock, and what they had
-- said last. Local.
CREATE TABLE awaited (
  key   BLOB PRIMARY KEY,
  since INTEGER NOT NULL,
  said  BLOB NOT NULL
) WITHOUT ROWID;

-- What a row names that is let go of.
CREATE INDEX place_previous ON place (prev_parent) WHERE prev_parent IS NOT NULL;
CREATE INDEX removal_merged ON removal (merged) WHERE merged IS NOT NULL;
