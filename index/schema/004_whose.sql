-- A device is a function of its host's key and a number, and its row says both, so that nobody can
-- give a device to another key.
ALTER TABLE device ADD COLUMN incarnation INTEGER;

-- The parts of the horizon (index/horizon_parts.h); meta has this host's own.
ALTER TABLE seen ADD COLUMN parts BLOB;

-- Rows that do not say it are told to nobody any more: each host writes its own anew, which comes
-- after these. Until then they say here what the hosts are called, and who they are.
UPDATE device SET dot_dev = NULL, dot_n = NULL WHERE role <> 2;
