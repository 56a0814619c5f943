"""A host that lets go of the rows of what was deleted.

Each host tells from time to time, in a row of its own ("seen"), what it knows and its horizon. The
horizon is a summary: who does not cover it may lack removals that the others let go of.

1. A host raises its horizon to what all hosts know that it counts (their rows say so, and it knows
   all that they knew). It need not count a minority that has been silent for too long, and says so:
   the horizon names the devices that it counts, and those that it leaves out.
2. Others' horizons are adopted by who covers them, and has nothing alive that was dead below them:
   a promise that nothing of that will live here again. Who knows a host that the horizon does not
   name waits for one that does.
3. Rows are taken only from who is counted in the taker's horizon, or has it: all others may bring
   back what was dead. So nothing that a left out host did reaches those who go on without it, not
   through a third one either.
4. Rows below the horizons of all hosts are let go of, but of those that all others leave out.
   Devices whose hosts have counted together make a part of the horizon. Hosts that grew apart and
   meet have several parts at first: who knows nothing of a part is a stranger to it, whatever it
   knows of the others. It has nothing to be removed, and is welcome.
5. Nor are rows taken from a host whose horizon does not cover what the taker let go of, or by one
   whose horizon does not cover what the giver let go of.
6. Who cannot have the others' horizon, as something lives there that they agreed to be dead, begins
   anew: a new device with the others' rows, and with what only it had, as new files. So nothing that
   is old can mix with what the others know. Of two that cannot have each other's it is the higher
   device.
7. Nor will two ever take anything from each other if they went on without each other: each lacks
   something below the other's horizon, and does not count there. The one whose horizon counts fewer
   devices begins anew; if they are as many, the one whose lowest device is the higher one.
"""
from replication import *
from publication import PublishingHost


class Part(NamedTuple):
    """Of a horizon: devices of hosts that count together, and those of them that were not counted."""
    devices: frozenset
    out: frozenset = frozenset()


class GivenDelta(NamedTuple):
    since: dict
    until: dict
    rows: list
    horizon: dict             # of its giver
    parts: frozenset          # of the horizon
    collected: dict           # below it the giver may have let go of rows
    giver: str


class Seen(NamedTuple):
    known: dict
    horizon: dict
    parts: frozenset


def covers_all(summary, other):
    return all(summary.get(d, 0) >= n for d, n in other.items())


def within(summary, part):
    return {d: n for d, n in summary.items() if d in part.devices}


def ready(known, summary, parts, of=None):
    """Whether each part of a summary is covered, or strange: nothing of it is in `of`."""
    of = known if of is None else of
    return all(covers_all(known, one) or not any(of.get(d) for d in one)
               for one in (within(summary, part) for part in parts))


def kept_out(device, own, horizon, parts):
    """The parts that do not count the device, whose host has `own`, and so not them."""
    return [p for p in parts if device not in p.devices - p.out and not covers_all(own, within(horizon, p))]


def lacks(device, known, horizon, parts):
    """Something of a part that does not count the device, nor is strange. Who counts is but late."""
    return any(known.get(d) for p in kept_out(device, known, horizon, parts) for d in within(horizon, p))


def counted(parts):
    return frozenset(d for p in parts for d in p.devices - p.out)


def rank(parts, device):
    """Of two groups that went on without each other the lower one goes on."""
    return -len(counted(parts)), sorted(counted(parts))[:1], device


def meet(summaries):
    first, *rest = summaries
    return {d: least for d, n in first.items() if (least := min([n] + [s.get(d, 0) for s in rest]))}


class CollectingHost(PublishingHost):
    def __init__(self, name, *args):
        self.name, self.horizon, self.parts = name, {}, frozenset()
        self.collected = {}                                # what was let go of here
        self.waits_for_all = True                          # however long somebody is silent
        self.is_open = lambda inode: False                 # by this host's users, for writing
        super().__init__(name, *args)

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

    def let_go(self, keys):
        for key in keys:
            row = self.rows.pop(key)
            if key[0] == "place":
                self.links[row.value.inode].discard(key[1])
                if not self.links[row.value.inode]:
                    del self.links[row.value.inode]
            if key[0] == "version":
                del self.versions[key[1][0]][key[1][1]]
                if not self.versions[key[1][0]]:
                    del self.versions[key[1][0]]

    def strange(self, inode, horizon, parts):
        """It lives, but below the horizon it was dead: others may have let go of it. Who was not counted cannot
        tell by the removals that it has now, as they may be later ones."""
        below = lambda key: self.rows[key].dot and covers(horizon, self.rows[key].dot)
        removals = [("removal", l) for l in self.links[inode] if ("removal", l) in self.rows]
        return (self.live_links(inode) and ("inode", inode) in self.rows and below(("inode", inode)) and removals
                and (any(self.device in p.out for p in parts) or all(below(k) for k in removals))
                and not any(below(("place", l)) for l in self.live_links(inode)))

    def fits(self, horizon, parts):
        return covers_all(self.summary, horizon) and not any(self.strange(i, horizon, parts) for i in self.links if i not in self.waiting)

    def repair_parents(self):
        """An entry of a folder that was collected here goes to the root rather than out of sight."""
        lost = [l for l in self.all_live_links() if self.parent(l) != ROOT and ("place", self.parent(l)) not in self.rows]
        for link in lost:
            self.move(link, ROOT, self.place(link).name)
        return super().repair_parents() or bool(lost)

    def bury(self):
        gone = {i: self.versions.pop(i) for i in list(self.versions) if ("inode", i) not in self.rows}
        try:
            return super().bury()
        finally:
            self.versions |= gone

    def unlinked(self, inode):
        return ("inode", inode) in self.rows and super().unlinked(inode)

    def above(self, folder):
        out = []
        while folder != ROOT and folder not in out and ("place", folder) in self.rows:
            out.append(folder)
            folder = self.parent(folder)
        return out, folder

    # ------------------------------------------------------------- deltas
    def delta(self, since):
        return GivenDelta(dict(since), dict(self.summary), [r for r in self.rows.values() if r.dot and not covers(since, r.dot)],
                          dict(self.horizon), self.parts, dict(self.collected), self.device)

    def behind(self, delta):
        """Who was not counted has to have the horizon itself: it may bring back what others let go of."""
        for part in self.parts:
            horizon = within(self.horizon, part)
            if any(delta.until.get(d) for d in horizon) and not (covers_all(delta.until, horizon) and (
                    delta.giver in part.devices - part.out or covers_all(delta.horizon, horizon))):
                return True
        return False

    def aware(self, delta):
        """This host has heard of what the giver let go of, or never had any of it."""
        return ready(self.horizon, delta.collected, delta.parts, self.summary)

    def takes(self, delta):
        return (covers_all(self.summary, delta.since) and not self.behind(delta)
                and ready(delta.horizon, self.collected, self.parts, delta.until) and self.aware(delta))

    def apart(self, delta):
        """Each lacks something below the other's horizon, so none will take anything from the other."""
        return (lacks(delta.giver, delta.until, self.horizon, self.parts)
                and lacks(self.device, self.summary, delta.horizon, delta.parts))

    def left_by(self, delta):
        """The giver let go of what lives here, or all who were counted, which this host was not, agreed to.
        If that is so for both, as for two parts that grew apart, the higher device begins anew."""
        if self.busy():
            return False
        if self.apart(delta):
            return rank(delta.parts, delta.giver) < rank(self.parts, self.device)
        lost = not self.aware(delta) and not self.fits(delta.collected, delta.parts)
        if not lost and covers_all(self.summary, delta.horizon):
            lost = any(self.agreed(delta, p) for p in kept_out(self.device, self.horizon, delta.horizon, delta.parts)) \
                and not self.fits(delta.horizon, delta.parts)
        both = not ready(delta.horizon, self.collected, self.parts, delta.until) or (
            covers_all(delta.until, self.horizon) and kept_out(delta.giver, delta.horizon, self.horizon, self.parts))
        return lost and (not both or delta.giver < self.device)

    def agreed(self, delta, part):
        """Who counts has the part, and takes nothing from this host. All others wait, or have it themselves."""
        horizon, out = within(delta.horizon, part), part.out
        others = [n for n, devices in self.hosts().items() if n != self.name and (part.devices - out) & set(devices)]
        return self.device in out or all(covers_all(self.said(n).horizon, horizon) for n in others)

    def receive(self, delta):
        self.adopt(delta.horizon, delta.parts)
        self.adopt(delta.collected, delta.parts, let_go=True)
        if not self.takes(delta):
            return False
        known = dict(self.summary)
        for row in delta.rows:
            if not covers(known, row.dot):
                self.merge(row)
        self.summary = join(self.summary, delta.until)
        for part in delta.parts:
            horizon, collected = within(delta.horizon, part), within(delta.collected, part)
            if not any(known.get(d) for d in collected):   # it lacks what the giver let go of, as the giver does
                self.collected = join(self.collected, collected)
            if not any(known.get(d) for d in horizon):
                self.join_horizon(horizon, [part])
        self.repair()
        self.adopt(delta.horizon, delta.parts)
        for row in [r for r in self.rows.values() if r.table == "seen"]:
            self.adopt(row.value.horizon, row.value.parts)
        return True

    def promised(self, device, horizon):
        """Its host said that it has the horizon."""
        row = self.rows.get(("device", device))
        return bool(row) and covers_all(self.said(row.value).horizon, horizon)

    def joined(self, horizon, parts, at_once):
        """Own horizon and another one. A host counts in it that counts in both, or has what it did not count in."""
        result, parts_now = dict(self.horizon), set(self.parts)
        for new in parts:
            other = within(horizon, new)
            new = Part(frozenset(other), new.out & frozenset(other))
            shared = [p for p in parts_now if p.devices & new.devices]
            if not other or any(covers_all(within(result, p), other) for p in shared):
                continue
            devices = new.devices.union(*(p.devices for p in shared))
            out = {d for d in new.out if not self.promised(d, other)}
            for part in shared:
                own = within(result, part)
                if not covers_all(other, own) and part.devices != new.devices and not at_once:
                    return None
                strange = {d for d in devices - (part.devices - part.out) if not self.promised(d, own)}
                if strange - part.out - new.out and not at_once:
                    return None
                out |= strange | {d for d in part.devices - new.devices if not self.promised(d, other)}
            result = join(result, other)
            parts_now = parts_now - set(shared) | {Part(devices, frozenset(out))}
        return result, frozenset(parts_now)

    def join_horizon(self, horizon, parts, at_once=True):
        both = self.joined(horizon, parts, at_once)
        if both:
            self.horizon, self.parts = both

    def adopt(self, horizon, parts, let_go=False):
        """One that does not know of a host that this one knows waits for the next one, unless somebody acted by it."""
        if covers_all(self.horizon, horizon) or self.busy() or not self.fits(horizon, parts):
            return
        let_go = let_go or self.device not in counted(parts)
        if not let_go and any(not any(d in horizon for d in devices) and n != self.name and not covers_all(self.said(n).horizon, horizon)
                              for n, devices in self.hosts().items()):
            return
        self.join_horizon(horizon, parts, at_once=let_go)

    def busy(self):
        """Something deleted is open for writing, or a new file waits in a deleted folder: it may come back."""
        return (any(self.is_open(i) for i in self.dead())
                or any(not self.folder_alive(self.place(l).parent) for links in self.waiting.values() for l in links))

    def delete_again(self, fresh, delta):
        """Files whose deletion here is news, if nobody moved them since and the deleter had what they hold before him.
        In any doubt they stay."""
        for path, link in sorted(fresh.tree().items()):
            removal, inode = self.rows.get(("removal", link)), fresh.place(link).inode
            if (removal and not covers(delta.until, removal.dot) and removal.value.seen[:2] == fresh.placed(link)[:2]
                    and not self.live_links(inode) and fresh.live_links(inode) == [link] and fresh.versions.get(inode)
                    and removal.value.known.overwrote(fresh.heads(inode)[0].key[1])
                    and self.stands_as(self.place(link).parent, delta.until) and self.only_brought_stands_at(link, delta.until)):
                fresh.unlink(path)

    def stands_as(self, folder, until):
        """The folder, and each above it, is where `until` has it: what is moved and then deleted is not deleted by half."""
        while folder != ROOT:
            row = self.rows.get(("place", folder))
            if not row or not covers(until, row.dot): return False
            folder = row.value.parent
        return True

    def only_brought_stands_at(self, link, until):
        """Whatever file has the name of the removed link now is brought along: a rename over is repeated whole or not at all."""
        spot = (self.parent(link), self.place(link).name)
        for other in self.all_live_links():
            inode = self.place(other).inode
            if (self.parent(other), self.place(other).name) != spot or self.kind(inode) == "folder": continue
            if self.live_links(inode) != [other] or not self.versions.get(inode) or covers(until, self.heads(inode)[0].key[1]): return False
        return True

    def begin_anew(self, fresh, delta):
        """What only this host had, as work of users of `fresh`, a new host that took this delta."""
        self.delete_again(fresh, delta)
        for path, link in sorted(self.tree().items()):
            inode = self.place(link).inode
            if self.kind(inode) == "folder" or not self.versions.get(inode):
                continue
            head = self.heads(inode)[0]
            if not covers(delta.until, head.key[1]):
                fresh.take_in(path, head.value.root)

    def take_in(self, path, root):
        at = ""
        for name in path.split("/")[1:-1]:
            at += "/" + name
            while at in self.tree() and self.kind(self.place(self.tree()[at]).inode) != "folder":
                at += "+"
            if at not in self.tree():
                self.mkdir(at)
        at += "/" + path.rsplit("/", 1)[1]
        while at in self.tree():
            at += "+"
        self.create(at, root)

    # --------------------------------------------------------- collection
    def hosts(self):
        """The hosts that there are by name, with their devices."""
        out = {}
        for (table, key), row in self.rows.items():
            if table == "device":
                out.setdefault(row.value, []).append(key)
        return out

    def said(self, name):
        """What the host, as whatever device, said last."""
        if name == self.name:
            return Seen(self.summary, self.horizon, self.parts)
        rows = [r for d in self.hosts()[name] if (r := self.rows.get(("seen", d)))]
        return max(rows, key=lambda r: (r.stamp, r.dot)).value if rows else Seen({}, {}, frozenset())

    def tell(self):
        if self.busy():
            return
        held = self.rows.get(("seen", self.device))
        self.write("seen", self.device, self.now(*([held.stamp] if held else [])), Seen(dict(self.summary), dict(self.horizon), self.parts))

    def raise_horizon(self, silent=()):
        """silent: hosts that have said nothing for too long, as this one sees it."""
        hosts = sorted(self.hosts())
        all_or_most = [h for h in hosts if h not in silent]
        if 2 * len(all_or_most) < len(hosts) or 2 * len(all_or_most) == len(hosts) and hosts[0] not in all_or_most:
            all_or_most = hosts
        known = meet([self.said(h).known for h in all_or_most])
        if all(any(d in known for d in self.hosts()[h]) for h in all_or_most):
            out = frozenset(d for h in hosts if h not in all_or_most for d in self.hosts()[h] if d in known)
            self.adopt(known, [Part(frozenset(known), out)])

    def left_behind(self, host):
        """All agree not to count it, so nobody takes what it may bring back."""
        out = frozenset(d for p in self.parts for d in p.out)
        devices = frozenset(self.hosts()[host])
        others = [h for h, its in self.hosts().items() if not out & set(its)]
        return (host != self.name and not self.waits_for_all and bool(devices & out)
                and not any(devices & counted(self.said(h).parts) for h in [self.name, *others]))

    def collect(self):
        floor = meet([self.said(h).horizon for h in self.hosts() if not self.left_behind(h)])
        covered = lambda key: self.rows[key].dot and covers(floor, self.rows[key].dot)
        while gone := self.collectable(covered):
            self.collected = join(self.collected, *(dict([self.rows[key].dot]) for key in gone))
            self.let_go(gone)

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
