"""A host that lets go of the rows of what was deleted.

Every host tells from time to time what it knows (a row "ack"). The rows of a dead inode, or of a
dead link of a live one, are collected when everybody's ack covers them and this host covers the
acks. Nothing depends on the acks being complete: a host may have been away for too long, be unknown,
or have gone back to an older state. What keeps deleted things deleted, and everybody's work safe:

1. horizon: what a host collected is below it. It takes rows only from a host that covers its
   horizon, and gives a host that does not everything that it has (a full delta).
2. A full delta is reconciled: what its giver has seen and has no more was deleted, so it is removed
   here by ordinary rows; what the giver has not seen of it is this host's own work, and all rows of
   that inode are written anew, with fresh dots.
3. An inode that comes to life again is written anew, too: others may have collected it.
"""
from replication import *
from publication import PublishingHost


class FullDelta(NamedTuple):
    since: dict
    until: dict
    rows: list
    horizon: dict             # of its giver; becomes its taker's, too, who has none of these rows


def covers_all(summary, other):
    return all(summary.get(d, 0) >= n for d, n in other.items())


def meet(summaries):
    first, *rest = summaries
    return {d: min([n] + [s.get(d, 0) for s in rest]) for d, n in first.items()}


class CollectingHost(PublishingHost):
    def __init__(self, *args):
        self.horizon, self.dead_before = {}, None
        self.is_open = lambda inode: False                 # by this host's users, for writing
        super().__init__(*args)

    # --------------------------------------------------------------- rows
    def rows_of(self, inode):
        """Keys of all rows of an inode."""
        keys = [("inode", inode), ("attr", inode)]
        for link in sorted(self.links.get(inode, ())):
            keys += [("place", link), ("removal", link)]
        keys += [("version", (inode, c)) for c in sorted(self.versions.get(inode, {}))]
        return [k for k in keys if k in self.rows]

    def alive(self, link):
        """What came of a link whose inode was collected here says nothing."""
        return ("inode", self.place(link).inode) in self.rows and super().alive(link)

    def folder_alive(self, folder):
        return folder == ROOT or ("place", folder) in self.rows and self.alive(folder)

    def dead(self):
        return {i for i in self.links if i not in self.waiting and not self.live_links(i)}

    def anew(self, inodes):
        """The same rows with later stamps: hosts that collected them get them again."""
        for inode in sorted(inodes):
            for key in self.rows_of(inode):
                row = self.rows[key]
                if not row.dot:
                    continue
                if key[0] == "removal":
                    row = row._replace(value=row.value._replace(again=row.value.again + 1))
                else:
                    row = row._replace(stamp=row.stamp.repaired())
                row = self.rows[key] = row._replace(dot=self.next_dot())
                if key[0] == "version":
                    self.versions[inode][key[1][1]] = row

    def woken(self):
        """Writes anew what has come to life since `dead_before` was noted."""
        dead, self.dead_before = self.dead_before, None
        self.anew(i for i in dead if self.live_links(i))

    def revive(self, link):
        self.dead_before.add(self.place(link).inode)
        super().revive(link)

    def repair(self):
        inner = self.dead_before is not None
        if not inner:
            self.dead_before = self.dead()
        super().repair()
        if not inner:
            self.woken()

    def repair_parents(self):
        """An entry of a folder that was collected here goes to the root rather than out of sight."""
        lost = [l for l in self.all_live_links() if self.parent(l) != ROOT and ("place", self.parent(l)) not in self.rows]
        for link in lost:
            self.move(link, ROOT, self.place(link).name)
        return super().repair_parents() or bool(lost)

    def above(self, folder):
        out = []
        while folder != ROOT and folder not in out and ("place", folder) in self.rows:
            out.append(folder)
            folder = self.parent(folder)
        return out, folder

    def commit(self, handle, root):
        self.dead_before = self.dead()
        super().commit(handle, root)
        self.woken()

    # ------------------------------------------------------------- deltas
    def delta(self, since):
        if covers_all(since, self.horizon):
            return super().delta(since)
        return FullDelta({}, dict(self.summary), [r for r in self.rows.values() if r.dot], dict(self.horizon))

    def receive(self, delta):
        full = isinstance(delta, FullDelta)
        if not full and not covers_all(delta.until, self.horizon):
            return False
        self.dead_before = dead = self.dead()
        known = dict(self.summary)
        if full:
            taken = self.reconcile(delta)
        else:
            taken = super().receive(delta)
        if taken:
            # Of what is deleted here something came from one who did not know. Where it was collected
            # already, that must not come without the rest, of which the removal is one.
            self.mark_again({self.inode_of(r) for r in delta.rows if r.table != "removal" and not covers(known, r.dot)} & dead)
        self.woken()
        return taken

    def mark_again(self, inodes):
        """Of what is deleted here something came from one who did not know. Where it was collected
        already it must not come without its removal."""
        for inode in sorted(inodes):
            if not self.live_links(inode):
                for link in sorted(self.links[inode]):
                    row = self.rows.get(("removal", link))
                    if row:
                        self.write("removal", link, None, row.value._replace(again=row.value.again + 1))

    def reconcile(self, delta):
        known = dict(self.summary)
        theirs = {(r.table, r.key): r for r in delta.rows}
        again, deleted = self.collected_here(theirs, known, delta.until)
        for row in delta.rows:
            inode = self.inode_of(row)
            if inode in again or inode not in deleted and not covers(known, row.dot):
                self.merge(row)
        self.remove_collected(theirs, delta.until)
        self.summary = join(self.summary, delta.until)
        self.horizon = join(self.horizon, delta.horizon)
        self.repair()
        self.anew(i for i in again if covers(known, theirs["inode", i].dot) and self.live_links(i))
        return True

    def inode_of(self, row):
        if row.table in ("inode", "attr"):
            return row.key
        if row.table == "version":
            return row.key[0]
        if row.table == "place":
            return row.value.inode
        if row.table == "removal" and ("place", row.key) in self.rows:
            return self.place(row.key).inode
        return None

    @staticmethod
    def worked_on(rows, mine, seen):
        """Whether users did something with an inode that is in `mine` and not in `seen` (summaries).
        What a repair wrote is nobody's work, as far as the row tells whose it repaired."""
        for row in rows:
            if row.table == "version" and not covers(seen, row.key[1]):
                return True
            if row.table == "place" and not covers(seen, row.dot):
                by = row.stamp.device
                if row.stamp[2:] == (0, 0) or mine.get(by, 0) > seen.get(by, 0):
                    return True
        return False

    def collected_here(self, theirs, known, until):
        """Inodes that the other has and this host has not: those that somebody worked on, unaware
        of their collection here, or that are new, and those that are to stay deleted."""
        rows, links = {}, {}
        for row in theirs.values():
            if row.table == "place":
                links[row.key] = row.value
        for row in theirs.values():
            inode = links[row.key].inode if row.table == "removal" and row.key in links else self.inode_of(row)
            rows.setdefault(inode, []).append(row)
        missing = {k[1] for k in theirs if k[0] == "inode" and k not in self.rows}
        again = {i for i in missing
                 if not covers(known, theirs["inode", i].dot) or self.worked_on(rows[i], until, known)}
        todo = sorted(again)
        while todo:                                        # and the folders that they are in
            for row in rows[todo.pop()]:
                if row.table == "place" and row.value.parent in missing - again:
                    again.add(row.value.parent)
                    todo.append(row.value.parent)
        return again, missing - again

    def remove_collected(self, theirs, until):
        """What the other has seen and has no more, was deleted; unless this host's users did
        something with it that the other has not seen."""
        seen = lambda key: key in self.rows and self.rows[key].dot and covers(until, self.rows[key].dot)
        kept = set()
        for inode in sorted(self.links):
            if inode in self.waiting or not self.live_links(inode):
                continue
            if ("inode", inode) not in theirs:
                if not seen(("inode", inode)):
                    continue
                if self.worked_on([self.rows[k] for k in self.rows_of(inode)], self.summary, until) or self.is_open(inode):
                    kept.add(inode)
                    continue
                lost = self.live_links(inode)
            else:
                lost = [l for l in self.live_links(inode) if seen(("place", l)) and ("place", l) not in theirs]
            for link in lost:
                self.remove(link, user=("inode", inode) not in theirs)
        self.anew(kept)

    # --------------------------------------------------------- collection
    def tell(self):
        """What this host knows, for the others' collection."""
        held = self.rows.get(("ack", self.device))
        self.write("ack", self.device, self.now(*([held.stamp] if held else [])), dict(self.summary))

    def floor(self, without=()):
        """What all hosts that count are known to know."""
        acks = [self.summary]
        for table, device in list(self.rows):
            if table == "device" and device != self.device and device not in without:
                ack = self.rows.get(("ack", device))
                acks.append(ack.value if ack and covers_all(self.summary, ack.value) else {})
        return meet(acks)

    def collect(self, without=()):
        floor = self.floor(without)
        covered = lambda key: self.rows[key].dot and covers(floor, self.rows[key].dot)
        while True:
            gone = self.collectable(covered)
            if not gone:
                return
            for key in gone:
                row = self.rows.pop(key)
                self.horizon = join(self.horizon, dict([row.dot]))
                if key[0] == "place":
                    self.links[row.value.inode].discard(key[1])
                    if not self.links[row.value.inode]:
                        del self.links[row.value.inode]
                if key[0] == "version":
                    del self.versions[key[1][0]][key[1][1]]
                    if not self.versions[key[1][0]]:
                        del self.versions[key[1][0]]

    def collectable(self, covered):
        """Keys of rows that may go now. A folder stays while anything names it."""
        named = set()
        for (table, key), row in self.rows.items():
            if table == "place":
                named.add(row.value.parent)
                if row.value.inode == key and row.value.previous and self.alive(key):
                    named.add(row.value.previous[0])
            elif table == "removal" and row.value.merged_into:
                named.add(row.value.merged_into)
            elif table == "inode" and row.value.copy_of:
                named.add(row.value.copy_of)
        gone = []
        for inode in sorted(self.dead()):
            keys = self.rows_of(inode)
            if inode in named or self.is_open(inode) or any(l in self.instead for l in self.links[inode]):
                continue
            if all(covered(k) for k in keys):
                gone += keys
        for (table, key), row in self.rows.items():
            if table == "place" and row.value.inode != key and row.value.inode not in self.waiting:
                removal, inode = ("removal", key), row.value.inode
                if (self.live_links(inode) and not self.alive(key) and key not in self.instead and inode not in named
                        and not self.rows["inode", inode].value.copy_of  # a second link says that somebody touched it
                        and removal in self.rows and covered((table, key)) and covered(removal)
                        and not any(covers(self.rows[removal].value.known.context, c) for c in self.versions.get(inode, {}))):
                    gone += [(table, key), removal]
            elif table == "removal" and ("place", key) not in self.rows and covered((table, key)):
                gone.append((table, key))
            elif table == "attr" and ("inode", key) not in self.rows and key not in self.links and key != ROOT and covered((table, key)):
                gone.append((table, key))
            elif table == "version" and key[0] not in self.links and ("inode", key[0]) not in self.rows and covered((table, key)):
                gone.append((table, key))
            elif table == "inode" and key not in self.links and key not in named and covered((table, key)):
                gone += [k for k in self.rows_of(key) if covered(k)] if all(covered(k) for k in self.rows_of(key)) else []
        return list(dict.fromkeys(gone))
