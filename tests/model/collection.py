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


def covers_all(summary, other):
    return all(summary.get(d, 0) >= n for d, n in other.items())


def meet(summaries):
    first, *rest = summaries
    return {d: min([n] + [s.get(d, 0) for s in rest]) for d, n in first.items()}


class CollectingHost(PublishingHost):
    def __init__(self, *args):
        self.horizon = {}
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

    def dead(self):
        return {i for i in self.links if i not in self.waiting and not self.live_links(i)}

    def anew(self, inodes):
        """Fresh dots for the same rows: hosts that collected them get them again."""
        for inode in sorted(inodes):
            for key in self.rows_of(inode):
                if self.rows[key].dot:
                    row = self.rows[key] = self.rows[key]._replace(dot=self.next_dot())
                    if key[0] == "version":
                        self.versions[inode][key[1][1]] = row

    def repair(self):
        dead = getattr(self, "dead_before", None)
        own = dead is None
        if own:
            dead = self.dead()
        super().repair()
        if own:
            self.anew(i for i in dead if self.live_links(i))

    def commit(self, handle, root):
        self.dead_before = self.dead()
        super().commit(handle, root)
        self.woken()

    def woken(self):
        dead, self.dead_before = self.dead_before, None
        self.anew(i for i in dead if self.live_links(i))

    # ------------------------------------------------------------- deltas
    def delta(self, since):
        if covers_all(since, self.horizon):
            return super().delta(since)
        return FullDelta({}, dict(self.summary), [r for r in self.rows.values() if r.dot])

    def receive(self, delta):
        full = isinstance(delta, FullDelta)
        if not full and not covers_all(delta.until, self.horizon):
            return False
        self.dead_before = self.dead()
        if full:
            taken = self.reconcile(delta)
        else:
            taken = super().receive(delta)
        self.woken()
        return taken

    def reconcile(self, delta):
        known = dict(self.summary)
        theirs = {(r.table, r.key): r for r in delta.rows}
        again = self.collected_here(theirs, known)
        for row in delta.rows:
            if not covers(known, row.dot) or self.inode_of(row) in again:
                self.merge(row)
        self.remove_collected(theirs, delta.until)
        self.summary = join(self.summary, delta.until)
        self.repair()
        self.anew(i for i in again if self.live_links(i))
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

    def collected_here(self, theirs, known):
        """Inodes that this host collected and somebody worked on, unaware of that."""
        their_place = {k[1]: r.value for k, r in theirs.items() if k[0] == "place"}
        inodes, links = set(), {}
        for link, place in their_place.items():
            links.setdefault(place.inode, []).append(link)
        def mine(row):
            if row.table == "removal":
                return their_place[row.key].inode if row.key in their_place else None
            return self.inode_of(row)
        for row in theirs.values():
            inode = mine(row)
            if inode and ("inode", inode) in theirs and ("inode", inode) not in self.rows and not covers(known, row.dot):
                inodes.add(inode)
        todo = sorted(inodes)
        while todo:                                        # and the folders that they are in
            for link in links.get(todo.pop(), ()):
                folder = their_place[link].parent
                if ("inode", folder) in theirs and ("inode", folder) not in self.rows and folder not in inodes:
                    inodes.add(folder)
                    todo.append(folder)
        return inodes

    def remove_collected(self, theirs, until):
        """What the other has seen and has no more, was deleted; unless this host's users did
        something with it that the other has not seen."""
        seen = lambda key: key in self.rows and self.rows[key].dot and covers(until, self.rows[key].dot)
        kept = set()
        for inode in sorted(self.links):
            if inode in self.waiting or not self.live_links(inode):
                continue
            if seen(("inode", inode)) and ("inode", inode) not in theirs:
                work = [k for k in self.rows_of(inode) if k[0] in ("place", "version") and not seen(k)]
                if work or self.is_open(inode):
                    kept.add(inode)
                    continue
                lost = self.live_links(inode)
            elif ("inode", inode) in theirs:
                lost = [l for l in self.live_links(inode) if seen(("place", l)) and ("place", l) not in theirs]
            else:
                continue
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
                if (self.live_links(inode) and not self.alive(key) and covered((table, key)) and covered(removal)
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
