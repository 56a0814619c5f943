-- The catalogue of one host. Replicated rows carry a stamp (which write of a register is the later
-- one) and a dot (dot_dev, dot_n: who wrote the row as its how manieth). A row without a dot is
-- only this host's so far: it belongs to a file whose first content is not committed. Columns
-- under "derived" follow from the rows and are kept right by the code that merges.

-- What this cache is: cluster, self, node_key, incarnation, machine, boot, file, clean; and next_ino,
-- above all numbers that were given (they are reserved many at a time).
CREATE TABLE meta (
  key   TEXT PRIMARY KEY,
  value
) WITHOUT ROWID;

-- Devices by their short local number, which stamps, dots and contexts use in this file.
CREATE TABLE device (
  dev   INTEGER PRIMARY KEY,
  id    BLOB NOT NULL UNIQUE,
  known INTEGER NOT NULL DEFAULT 0,            -- the summary: highest number known here
  name  BLOB, key BLOB, role INTEGER,          -- the device's row, if it has come
  time INTEGER, stamp_dev INTEGER, life INTEGER, sub INTEGER,
  dot_dev INTEGER, dot_n INTEGER, extra BLOB
);

-- Owners are few: files point to them.
CREATE TABLE owner (
  owner INTEGER PRIMARY KEY,
  uid   INTEGER NOT NULL, gid INTEGER NOT NULL,
  user  BLOB NOT NULL, grp BLOB NOT NULL,
  flags INTEGER NOT NULL,                      -- 1: uid is the mounter, 2: gid is the mounter's
  UNIQUE (uid, gid, user, grp, flags)
);

-- Row "inode" and, from mode on, the main register of row "attr". kind is NULL while other rows
-- name an inode whose own row has not come.
CREATE TABLE inode (
  ino    INTEGER PRIMARY KEY,                  -- st_ino; never used twice: meta.next_ino
  id     BLOB NOT NULL UNIQUE,
  kind   INTEGER, target BLOB, rdev INTEGER NOT NULL DEFAULT 0,
  copy_of INTEGER,                             -- a conflict copy: ino of the file whose loser it is
  time INTEGER, dev INTEGER, life INTEGER, sub INTEGER,
  dot_dev INTEGER, dot_n INTEGER, extra BLOB,
  mode   INTEGER, owner INTEGER, acl_access BLOB, acl_default BLOB,
  a_time INTEGER, a_dev INTEGER, a_life INTEGER, a_sub INTEGER,
  a_dot_dev INTEGER, a_dot_n INTEGER, a_extra BLOB,
  -- local
  pending INTEGER NOT NULL DEFAULT 0,          -- not published: no first content yet
  atime   INTEGER NOT NULL DEFAULT 0,          -- ns; 0: as mtime
  -- derived
  live_links INTEGER NOT NULL DEFAULT 0,       -- links that all hosts see
  nlink      INTEGER NOT NULL DEFAULT 0,       -- links that this host's users see
  subfolders INTEGER NOT NULL DEFAULT 0,
  head       INTEGER,                          -- version: the best one
  undeleted  INTEGER NOT NULL DEFAULT 0,       -- some version is not covered by `removed`
  removed    BLOB,                             -- contexts of all removals of its links, joined
  changed    INTEGER NOT NULL DEFAULT 0,       -- folders: when an entry came or went, ns
  set_time   INTEGER NOT NULL DEFAULT 0,       -- stamp time of the mtime register
  mtime      INTEGER NOT NULL DEFAULT 0,
  ctime      INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX inode_copy ON inode (copy_of) WHERE copy_of IS NOT NULL;
CREATE INDEX inode_pending ON inode (pending) WHERE pending = 1;

-- The other registers of row "attr": "m" the mtime that somebody set, "x" + name an xattr.
CREATE TABLE attr (
  ino   INTEGER NOT NULL,
  name  BLOB NOT NULL,
  value BLOB,                                  -- NULL: removed
  time INTEGER, dev INTEGER, life INTEGER, sub INTEGER,
  dot_dev INTEGER, dot_n INTEGER, extra BLOB,
  attr  INTEGER PRIMARY KEY
);
CREATE UNIQUE INDEX attr_name ON attr (ino, name);

-- Row "place": where a link is. ino is NULL while only a removal of the link has come.
CREATE TABLE place (
  link   INTEGER PRIMARY KEY,                  -- the cookie of a folder listing
  id     BLOB NOT NULL UNIQUE,
  ino    INTEGER, parent INTEGER, name BLOB,
  prev_parent INTEGER, prev_name BLOB,
  time INTEGER, dev INTEGER, life INTEGER, sub INTEGER,
  dot_dev INTEGER, dot_n INTEGER, extra BLOB,
  -- derived
  up     INTEGER,                              -- parent after folder merges; NULL: not alive
  state  INTEGER NOT NULL DEFAULT 0,           -- bits: 1 alive, 2 live, 4 ours, 8 shown (see link.h)
  merged INTEGER,                              -- folders: merged_into of the removal
  conflict INTEGER                             -- 1: shown, and the name is a conflict name
);
CREATE INDEX place_ino ON place (ino) WHERE ino IS NOT NULL;
CREATE INDEX place_name ON place (up, name) WHERE up IS NOT NULL;
CREATE INDEX place_list ON place (up) WHERE up IS NOT NULL;
CREATE INDEX place_conflict ON place (conflict) WHERE conflict IS NOT NULL;

-- Row "version". Only those that no other one covers.
CREATE TABLE version (
  version INTEGER PRIMARY KEY,
  ino     INTEGER NOT NULL,
  commit_dev INTEGER NOT NULL, commit_n INTEGER NOT NULL,
  root BLOB NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
  known BLOB NOT NULL,                         -- what the writer knew of other versions
  time INTEGER, dev INTEGER, life INTEGER, sub INTEGER,
  dot_dev INTEGER, dot_n INTEGER, extra BLOB,
  inline BLOB                                  -- the bytes, up to 16 KiB; last, so that others skip it
);
CREATE INDEX version_ino ON version (ino);
CREATE INDEX version_object ON version (root, size) WHERE size > 16384;

-- Versions that were covered, as far as they are kept. Local.
CREATE TABLE history (
  version INTEGER PRIMARY KEY,
  ino     INTEGER NOT NULL,
  commit_dev INTEGER NOT NULL, commit_n INTEGER NOT NULL,
  root BLOB NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
  time INTEGER NOT NULL, dev INTEGER NOT NULL,
  inline BLOB
);
CREATE UNIQUE INDEX history_ino ON history (ino, commit_dev, commit_n);
CREATE INDEX history_object ON history (root, size) WHERE size > 16384;

-- Objects that this host has or needs. needed and kept are derived.
CREATE TABLE object (
  root BLOB NOT NULL, size INTEGER NOT NULL,
  present INTEGER NOT NULL DEFAULT 0,
  needed  INTEGER NOT NULL DEFAULT 0,          -- the current version of a file that has a name
  kept    INTEGER NOT NULL DEFAULT 0,          -- an earlier version of one
  PRIMARY KEY (root, size)
) WITHOUT ROWID;
CREATE INDEX object_missing ON object (root, size) WHERE needed = 1 AND present = 0;
CREATE INDEX object_unused ON object (root, size) WHERE present = 1 AND needed = 0 AND kept = 0;

-- Row "removal" of a link.
CREATE TABLE removal (
  link INTEGER PRIMARY KEY,
  seen_time INTEGER NOT NULL, seen_dev INTEGER NOT NULL,
  seen_life INTEGER NOT NULL, seen_sub INTEGER NOT NULL,
  known BLOB NOT NULL,
  merged  INTEGER,                             -- ino of the folder that took over the children
  time    INTEGER NOT NULL,                    -- when, ns; for the folder's mtime, decides nothing
  dot_dev INTEGER, dot_n INTEGER, extra BLOB
);

-- Removals that wait for the first content of the file that replaced the link. Local.
CREATE TABLE pending_removal (
  link INTEGER PRIMARY KEY,
  ino  INTEGER NOT NULL,                       -- the file that waits
  seen_time INTEGER NOT NULL, seen_dev INTEGER NOT NULL,
  seen_life INTEGER NOT NULL, seen_sub INTEGER NOT NULL,
  known BLOB NOT NULL, time INTEGER NOT NULL
);
CREATE INDEX pending_removal_ino ON pending_removal (ino);

-- Files whose bytes may differ from their last version. Local.
CREATE TABLE dirty (
  ino     INTEGER PRIMARY KEY,
  known   BLOB NOT NULL,                       -- what was known when the writing began
  orphan  INTEGER NOT NULL DEFAULT 0           -- its last name was removed here
);

-- Rows of kinds that this version does not know, kept for those who do.
CREATE TABLE other (
  other INTEGER PRIMARY KEY,
  dot_dev INTEGER NOT NULL, dot_n INTEGER NOT NULL,
  row BLOB NOT NULL
);
CREATE UNIQUE INDEX other_dot ON other (dot_dev, dot_n);

-- Every replicated row by its dot, so that what a peer lacks is one range for each device. Rows of
-- one transaction are neighbours here. Kept by the triggers below. Kinds: 1 device, 2 inode, 3 the
-- main register of attr, 4 another register, 5 place, 6 version, 7 removal, 8 other.
CREATE TABLE dot (
  dev INTEGER NOT NULL, n INTEGER NOT NULL,
  kind INTEGER NOT NULL, key INTEGER NOT NULL,
  PRIMARY KEY (dev, n, kind, key)
) WITHOUT ROWID;

CREATE TRIGGER device_dot_insert AFTER INSERT ON device WHEN new.dot_n IS NOT NULL BEGIN
  INSERT OR IGNORE INTO dot VALUES (new.dot_dev, new.dot_n, 1, new.dev);
END;
CREATE TRIGGER device_dot_update AFTER UPDATE OF dot_n ON device BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 1 AND key = old.dev;
  INSERT OR IGNORE INTO dot SELECT new.dot_dev, new.dot_n, 1, new.dev WHERE new.dot_n IS NOT NULL;
END;
CREATE TRIGGER device_dot_delete AFTER DELETE ON device WHEN old.dot_n IS NOT NULL BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 1 AND key = old.dev;
END;

CREATE TRIGGER inode_dot_insert AFTER INSERT ON inode WHEN new.dot_n IS NOT NULL BEGIN
  INSERT OR IGNORE INTO dot VALUES (new.dot_dev, new.dot_n, 2, new.ino);
END;
CREATE TRIGGER inode_dot_update AFTER UPDATE OF dot_n ON inode BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 2 AND key = old.ino;
  INSERT OR IGNORE INTO dot SELECT new.dot_dev, new.dot_n, 2, new.ino WHERE new.dot_n IS NOT NULL;
END;
CREATE TRIGGER inode_dot_delete AFTER DELETE ON inode WHEN old.dot_n IS NOT NULL BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 2 AND key = old.ino;
END;

CREATE TRIGGER attributes_dot_insert AFTER INSERT ON inode WHEN new.a_dot_n IS NOT NULL BEGIN
  INSERT OR IGNORE INTO dot VALUES (new.a_dot_dev, new.a_dot_n, 3, new.ino);
END;
CREATE TRIGGER attributes_dot_update AFTER UPDATE OF a_dot_n ON inode BEGIN
  DELETE FROM dot WHERE dev = old.a_dot_dev AND n = old.a_dot_n AND kind = 3 AND key = old.ino;
  INSERT OR IGNORE INTO dot SELECT new.a_dot_dev, new.a_dot_n, 3, new.ino WHERE new.a_dot_n IS NOT NULL;
END;
CREATE TRIGGER attributes_dot_delete AFTER DELETE ON inode WHEN old.a_dot_n IS NOT NULL BEGIN
  DELETE FROM dot WHERE dev = old.a_dot_dev AND n = old.a_dot_n AND kind = 3 AND key = old.ino;
END;

CREATE TRIGGER attr_dot_insert AFTER INSERT ON attr WHEN new.dot_n IS NOT NULL BEGIN
  INSERT OR IGNORE INTO dot VALUES (new.dot_dev, new.dot_n, 4, new.attr);
END;
CREATE TRIGGER attr_dot_update AFTER UPDATE OF dot_n ON attr BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 4 AND key = old.attr;
  INSERT OR IGNORE INTO dot SELECT new.dot_dev, new.dot_n, 4, new.attr WHERE new.dot_n IS NOT NULL;
END;
CREATE TRIGGER attr_dot_delete AFTER DELETE ON attr WHEN old.dot_n IS NOT NULL BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 4 AND key = old.attr;
END;

CREATE TRIGGER place_dot_insert AFTER INSERT ON place WHEN new.dot_n IS NOT NULL BEGIN
  INSERT OR IGNORE INTO dot VALUES (new.dot_dev, new.dot_n, 5, new.link);
END;
CREATE TRIGGER place_dot_update AFTER UPDATE OF dot_n ON place BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 5 AND key = old.link;
  INSERT OR IGNORE INTO dot SELECT new.dot_dev, new.dot_n, 5, new.link WHERE new.dot_n IS NOT NULL;
END;
CREATE TRIGGER place_dot_delete AFTER DELETE ON place WHEN old.dot_n IS NOT NULL BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 5 AND key = old.link;
END;

CREATE TRIGGER version_dot_insert AFTER INSERT ON version WHEN new.dot_n IS NOT NULL BEGIN
  INSERT OR IGNORE INTO dot VALUES (new.dot_dev, new.dot_n, 6, new.version);
END;
CREATE TRIGGER version_dot_update AFTER UPDATE OF dot_n ON version BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 6 AND key = old.version;
  INSERT OR IGNORE INTO dot SELECT new.dot_dev, new.dot_n, 6, new.version WHERE new.dot_n IS NOT NULL;
END;
CREATE TRIGGER version_dot_delete AFTER DELETE ON version WHEN old.dot_n IS NOT NULL BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 6 AND key = old.version;
END;

CREATE TRIGGER removal_dot_insert AFTER INSERT ON removal WHEN new.dot_n IS NOT NULL BEGIN
  INSERT OR IGNORE INTO dot VALUES (new.dot_dev, new.dot_n, 7, new.link);
END;
CREATE TRIGGER removal_dot_update AFTER UPDATE OF dot_n ON removal BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 7 AND key = old.link;
  INSERT OR IGNORE INTO dot SELECT new.dot_dev, new.dot_n, 7, new.link WHERE new.dot_n IS NOT NULL;
END;
CREATE TRIGGER removal_dot_delete AFTER DELETE ON removal WHEN old.dot_n IS NOT NULL BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 7 AND key = old.link;
END;

CREATE TRIGGER other_dot_insert AFTER INSERT ON other WHEN new.dot_n IS NOT NULL BEGIN
  INSERT OR IGNORE INTO dot VALUES (new.dot_dev, new.dot_n, 8, new.other);
END;
CREATE TRIGGER other_dot_update AFTER UPDATE OF dot_n ON other BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 8 AND key = old.other;
  INSERT OR IGNORE INTO dot SELECT new.dot_dev, new.dot_n, 8, new.other WHERE new.dot_n IS NOT NULL;
END;
CREATE TRIGGER other_dot_delete AFTER DELETE ON other WHEN old.dot_n IS NOT NULL BEGIN
  DELETE FROM dot WHERE dev = old.dot_dev AND n = old.dot_n AND kind = 8 AND key = old.other;
END;
