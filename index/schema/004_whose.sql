-- A device is a function of its host's key and a number, and its row says both, so that nobody can
-- give a device to another key.
ALTER TABLE device ADD COLUMN incarnation INTEGER;

-- The parts of the horizon (index/horizon_parts.h); meta has this host's own.
ALTER TABLE seen ADD COLUMN parts BLOB;

-- Rows that do not say it are no good any more: each host writes its own anew.
UPDATE device SET name = NULL, key = NULL, role = NULL, time = NULL, stamp_dev = NULL, life = NULL,
  sub = NULL, dot_dev = NULL, dot_n = NULL, extra = NULL WHERE role <> 2;
