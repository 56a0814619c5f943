"""Random histories for collection.py.  python3 test_collection.py RUNS [FIRST_SEED]

As test_replication.py, with hosts that tell what they know and collect. `careless` ones collect
without waiting for some hosts, as if these had been away for too long; those begin anew if they
have to, and bring their own work along as new files. Nothing refers to these any more, so what
another one who was away had deleted or replaced of it meanwhile is shown beside it
(docs/LIMITATIONS.md, "Traces of what was deleted"). In `unheard` ones those who are away go on
together, some hear of others without being heard of, and hardly anything is let go of before the
end, so that only the horizons say who is left behind.
"""
import collections
import sys

from collection import *
from test_replication import *


class CollectingWorld(World):
    rounds_max = 20

    def __init__(self, *args, careless=False, unheard=False, **options):
        self.careless = careless
        self.unheard = unheard                             # those who are away are a group of their own
        self.keep = unheard                                # what was deleted, mostly
        self.away, self.joined, self.anew = set(), set(), 0
        super().__init__(*args, one_handle=True, **options)
        self.joined = {(self.g.choice(self.hosts) if unheard else self.hosts[0]).device}
        self.collected = 0
        self.brought = set()                               # contents that somebody who began anew brought along

    def host(self, name, skew, incarnation=1):
        host = CollectingHost(name, lambda: self.wall + skew, seeded_ids("%s %s %d" % (self.seed, name, incarnation)), incarnation)
        host.skew, host.waits_for_all = skew, not self.careless
        host.is_open = lambda inode: any(e[0][0] == inode for e in self.handles[host.device])
        return host

    def cut_delta(self, origin, to):
        if origin.device in self.away and not self.unheard or origin.device not in self.joined:
            return None
        return copy.deepcopy(origin.delta(to.summary if to else {}))

    def network(self, host):
        """Hosts that are away, and those that have not joined yet, hear of nobody."""
        g = self.g
        if host.device not in self.joined:
            others = [h for h in self.hosts if h.device in self.joined - self.away]
            if others and g.random() < .3:
                other = g.choice(others)
                self.joined.add(host.device)
                one_way = self.unheard and g.random() < .5
                for a, b in ((other, host), (host, other), (other, host))[:1 if one_way else 3]: self.give(b, self.cut_delta(a, b))
                if one_way: self.away ^= {host.device}
        elif self.careless and g.random() < .04:
            self.away = set() if self.away else {h.device for h in self.hosts if g.random() < .3}
        elif host.device not in self.away or self.unheard:
            super().network(host)

    def hears(self, device, giver):
        return (device in self.away) == (giver in self.away) if self.unheard else device not in self.away

    def give(self, host, delta):
        if delta is None or host.device not in self.joined or not self.hears(host.device, delta.giver): return False
        taken = host.receive(copy.deepcopy(delta))
        giver = [h for h in self.hosts if h.device == delta.giver]
        if host in self.hosts and giver and self.hears(delta.giver, host.device) and host.left_by(delta):
            self.begin_anew(host, giver[0])
        return taken

    def begin_anew(self, host, giver):
        """After a new mount: no handle outlives it."""
        for entry in [e for e in self.handles[host.device] if e[0][0] in host.waiting]:
            self.late(host, entry)
        self.handles[host.device].clear()
        self.anew += 1
        fresh = self.host(host.name, host.skew, 1 + self.anew)
        full = giver.delta({})
        self.brought |= {z[1] for z in show(host).values()}
        assert fresh.receive(copy.deepcopy(full))
        host.begin_anew(fresh, full)
        self.hosts[self.hosts.index(host)] = fresh
        self.joined.add(fresh.device)
        self.log.append((host.device, "anew", fresh.device))

    def step(self, ops):
        g, host = self.g, self.g.choice(self.hosts)
        k = g.random()
        if k < .06:
            host.tell()
        elif k < .12:
            self.collect(host)
        else:
            super().step(ops)

    def collect(self, host):
        before, tree = len(host.rows), show(host)
        here = host.device in self.away
        silent = [] if here and not self.unheard else [h.name for h in self.hosts if (h.device in self.away) != here]
        host.raise_horizon(silent)
        if not self.keep or self.g.random() < .1: host.collect()
        self.collected += before - len(host.rows)
        if show(host) != tree:
            raise Fail("collecting changed the tree")
        count = host.summary[host.device]
        host.repair()
        if host.summary[host.device] != count:
            raise Fail("collecting left something to repair")
        self.check(host)

    def untouched_copies(self, host):
        """What began anew overwrote it as a new file."""
        return [] if self.anew else super().untouched_copies(host)

    def exchange(self):
        for a in list(self.hosts):
            for b in list(self.hosts):
                if a is not b and a in self.hosts: self.give(b, self.cut_delta(a, b))

    def same_rows(self, host, first):
        if show(host) != show(first):
            raise Fail("trees differ: %s %s" % (show(host), show(first)))
        live = {i for i in first.links if first.live_links(i)}
        if live != {i for i in host.links if host.live_links(i)}:
            raise Fail("live inodes differ")
        for inode in live:
            keys = [k for k in first.rows_of(inode) if k[0] in ("inode", "attr", "version") or k[0] == "place" and first.alive(k[1])]
            for key in keys:
                if key not in host.rows or host.rows[key] != first.rows[key]:
                    raise Fail("rows differ: %s" % [key, first.rows[key], host.rows.get(key)])

    def finish(self):
        self.away, self.joined = set(), {h.device for h in self.hosts}
        for host in self.hosts:                            # what is open holds up everybody
            for entry in [e for e in self.handles[host.device] if e[0][0] in host.waiting]:
                self.late(host, entry)
            self.handles[host.device].clear()
        for _ in range(3):
            self.exchange()
            for host in self.hosts:
                host.raise_horizon()
                host.tell()
        result = super().finish()
        self.keep = False
        for host in self.hosts:
            self.handles[host.device].clear()
        before = show(self.hosts[0])
        for _ in range(4):
            for host in self.hosts: host.tell()
            for _ in range(2): self.exchange()
            for host in self.hosts:
                host.raise_horizon()
                self.collect(host)
        for host in self.hosts:
            if show(host) != before: raise Fail("collecting changed the tree at the end")
            kept = [k for k in host.rows if k[0] == "removal"]
            named = {r.value.parent for r in host.rows.values() if r.table == "place"} | \
                {r.value.previous[0] for r in host.rows.values() if r.table == "place" and r.value.previous}
            copied = {r.value.copy_of for r in host.rows.values() if r.table == "inode"}
            for table, link in kept:
                inode = host.place(link).inode if ("place", link) in host.rows else None
                if any(r.table == "removal" and r.value.merged_into == link for r in host.rows.values()): continue
                if link in named or inode in copied or inode and host.live_links(inode): continue
                raise Fail("left over: %s" % [host.rows[table, link], host.rows.get(("place", link))])
        return result


# Histories that ended with hosts that differ, or did not end.
EARLIER = (("careless", 283), ("careless", 5023), ("careless", 5067), ("careless", 5083), ("careless", 5095), ("careless", 5107),
           ("careless", 10142), ("careless", 10355), ("careless", 10455), ("careless", 20355), ("equal contents", 5055),
           ("equal contents", 5091), ("equal contents", 5095), ("equal contents", 5115), ("equal contents", 5143),
           ("unheard", 6), ("unheard", 94), ("unheard", 259), ("unheard", 630), ("unheard", 2237),
           ("no edits", 20021), ("no edits", 20295), ("no edits", 20623), ("no renames", 5014), ("no renames", 5031), ("no renames", 5067), ("no renames", 5143))


def main(runs, first=0, only=None):
    failed = not only and any(main(1, seed, [label]) for label, seed in EARLIER)
    for label, ops, options in (("collecting", PUBLISHING, {}), ("careless", PUBLISHING, dict(careless=True)),
                                ("equal contents", PUBLISHING, dict(shared=True, careless=True)),
                                ("unheard", PUBLISHING, dict(careless=True, unheard=True)),
                                ("no edits", NO_EDITS, dict(careless=True)), ("no renames", NO_RENAMES, dict(careless=True)),
                                ("no edits, all counted", NO_EDITS, {}), ("no renames, all counted", NO_RENAMES, {})):
        if only and label not in only: continue
        result, example, rounds, collected = collections.Counter(), {}, collections.Counter(), 0
        for seed in range(first, first + runs):
            world = CollectingWorld(seed, 3 + seed % 3, True, **options)
            try:
                for _ in range((30, 60, 150, 400)[seed % 4]): world.step(ops)
                n, back = world.finish()
                rounds[n] += 1
                beside, back = back & world.brought, back - world.brought
                if ops is NO_RENAMES and any(world.commits[world.inode_of[r]] == 1 for r in back):
                    raise Fail("resurrected an unedited file: %s" % back)
                if ops is NO_EDITS and back:
                    raise Fail("resurrected: %s" % back)
                kind = "ok, overwritten content shown again" if back else "ok, beside what somebody brought along" if beside else "ok"
            except Fail as e:
                kind = str(e).split(":")[0]; back = str(e)
            except (AssertionError, KeyError) as e:
                kind = "%s %s" % (type(e).__name__, e if isinstance(e, AssertionError) else ""); back = repr(e)
            collected += world.collected
            result[kind] += 1; example.setdefault(kind, (seed, back))
        print(label, dict(result), "rounds", dict(rounds), "collected/run %.1f" % (collected / runs), flush=True)
        for kind, z in example.items():
            if kind != "ok": print("   ", kind, str(z)[:700], flush=True)
        failed |= any(not kind.startswith("ok") for kind in result)
    return failed


def without_each_other():
    """A host took another one's files and was never heard of; both deleted some, and left each other out."""
    a, b = [CollectingHost(name, lambda: START, seeded_ids(name), 1) for name in "AB"]
    for name in ("f", "g"): b.create("/" + name, name)
    a.receive(b.delta({}))
    for host, other, gone in ((a, b, "/f"), (b, a, "/g")):
        host.unlink(gone)
        host.tell()
        host.raise_horizon([other.name])
    to_a, to_b = b.delta(a.summary), a.delta(b.summary)
    assert not a.receive(to_a) and not b.receive(to_b)
    assert not a.left_by(to_a) and b.left_by(to_b)


if __name__ == "__main__":
    without_each_other()
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
