-- Earlier versions, and what was deleted, are kept for a while (Catalogue::PruneVersions). The rows
-- of what was deleted are its history: `gone` says until when they count.

-- When the version ceased to be the current one, by this host's clock, ns.
ALTER TABLE history ADD COLUMN replaced INTEGER NOT NULL DEFAULT 0;
UPDATE history SET replaced = CAST(strftime('%s', 'now') AS INTEGER) * 1000000000;
CREATE INDEX history_replaced ON history (replaced);
CREATE INDEX history_inline ON history (size) WHERE size <= 16384;

-- When the last name went, by this host's clock, ns. 0: it has one, or never had one here;
-- -1: it went, and is not kept any more.
ALTER TABLE inode ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
UPDATE inode SET gone = CAST(strftime('%s', 'now') AS INTEGER) * 1000000000
  WHERE live_links = 0 AND nlink = 0 AND kind IS NOT NULL AND pending = 0
  AND EXISTS (SELECT 1 FROM place p JOIN removal r ON r.link = p.link WHERE p.ino = inode.ino);
CREATE INDEX inode_gone ON inode (gone) WHERE gone <> 0;

-- What was in a folder once.
CREATE INDEX place_removed ON place (parent, name) WHERE up IS NULL;
CREATE INDEX place_merged ON place (merged) WHERE merged IS NOT NULL;

-- Objects that only earlier versions need.
CREATE INDEX object_kept ON object (size) WHERE kept = 1 AND needed = 0 AND present = 1;
