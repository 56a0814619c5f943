"""Records random histories of the model as golden files, for tests/index/golden_test.cc.

python3 record.py FOLDER [COUNT]

A file is lines of fields between tabs; paths are absolute, ids hex, times nanoseconds:

  host NAME DEVICE                        a catalogue (node key: SHA-256 of the name)
  make NAME TIME PATH INODE LINK CONTENT  a new file with its first version
  new NAME TIME PATH INODE LINK           a new file that waits for its first version
  mkdir NAME TIME PATH FOLDER
  link NAME TIME PATH NEW LINK
  unlink NAME TIME PATH, rmdir NAME TIME PATH, rename NAME TIME PATH NEW, chmod NAME TIME PATH MODE
  open NAME TIME HANDLE PATH              the file is about to change; at most one handle an inode and host
  commit NAME TIME HANDLE CONTENT OPEN    a version; OPEN 1: the handle stays
  close NAME HANDLE                       unchanged since
  cut DELTA FROM TO                       what FROM has and TO lacks ("-": one that knows nothing)
  give DELTA TO                           takes it; deltas may arrive late, twice or never
  tree NAME, then an entry a line: a tab, PATH, "d" or "f", for files MODE and CONTENT (empty: none yet)
  end                                     all hosts have the tree that follows

TIME is what the host's clock shows. CONTENT is the file's bytes.
"""
import os
import sys

from replication import *
from publication import PublishingHost
from test_replication import ALL, NO_EDITS, NO_RENAMES, PUBLISHING, World, examples, show

HOUR = 3600 * 10**9
TREE_EVERY = 12                                            # steps


class Recorder(PublishingHost):
    """A host whose user's operations are written down."""
    def __init__(self, world, name, clock, new_id):
        self.world, self.ids = world, []
        super().__init__(name, clock, lambda: self.ids.append(new_id()) or self.ids[-1])
        self.name = name
        world.line("host", name, self.device)

    def line(self, operation, *fields):
        self.world.line(operation, self.name, self.clock(), *fields)

    def create(self, path, root, mode=0o644):
        inode = super().create(path, root, mode)
        self.line("make", path, *self.ids[-2:], root)
        return inode

    def make(self, path, mode=0o644):
        inode = super().make(path, mode)
        self.line("new", path, *self.ids[-2:])
        return inode

    def mkdir(self, path):
        super().mkdir(path)
        self.line("mkdir", path, self.ids[-1])

    def link(self, path, new):
        super().link(path, new)
        self.line("link", path, new, self.ids[-1])

    def unlink(self, path):
        self.line("unlink", path)
        super().unlink(path)

    def rmdir(self, path):
        self.line("rmdir", path)
        super().rmdir(path)

    def rename(self, path, new):
        self.line("rename", path, new)
        super().rename(path, new)

    def chmod(self, path, mode):
        self.line("chmod", path, "%o" % mode)
        super().chmod(path, mode)

    def open(self, path):
        self.world.handle += 1
        inode, known = super().open(path)
        self.line("open", self.world.handle, path)
        return inode, known, self.world.handle

    def commit(self, handle, root):
        kept = any(entry[0] == handle for entry in self.world.handles.get(self.device, ()))
        self.line("commit", handle[2], root, int(kept))
        super().commit(handle[:2], root)


class RecordedWorld(World):
    names = ("a.txt", ".b", "c")

    def __init__(self, seed, hosts, **options):
        self.lines, self.handle, self.delta = [], 0, 0
        super().__init__(seed, hosts, one_handle=True, tick=HOUR, **options)

    def line(self, *fields):
        self.lines.append("\t".join(map(str, fields)))

    def host(self, name, skew):
        return Recorder(self, name, lambda: self.wall + skew, seeded_ids("%s %s" % (self.seed, name)))

    def cut_delta(self, origin, to):
        self.delta += 1
        self.line("cut", self.delta, origin.name, to.name if to else "-")
        return self.delta, super().cut_delta(origin, to)

    def give(self, host, delta):
        self.line("give", delta[0], host.name)
        return super().give(host, delta[1])

    def close(self, host, entry):
        """After a commit, which then was the last, or unchanged since."""
        super().close(host, entry)
        last = self.lines[-1].split("\t")
        if last[0] == "commit" and last[3] == str(entry[0][2]):
            self.lines[-1] = "\t".join(last[:-1] + ["0"])
        else:
            self.line("close", host.name, entry[0][2])

    def step(self, ops):
        super().step(ops)
        host = self.g.choice(self.hosts)
        written = [e for e in self.handles[host.device] if e[0][0] not in host.waiting]
        if written and self.g.random() < .05:
            self.close(host, self.g.choice(written))
        if self.g.random() < 1 / TREE_EVERY:
            self.tree("tree", self.g.choice(self.hosts))

    def tree(self, word, host):
        self.line(*((word, host.name) if word == "tree" else (word,)))
        for path, (kind, root, inode) in sorted(show(host).items()):
            fields = ("f", "%o" % host.rows["attr", inode].value, root or "") if kind == "file" else ("d",)
            self.line("", path, *fields)


class ExampleRecorder(Recorder):
    """A host of one of the examples, which exchange deltas by hand. Host A begins a new one."""
    worlds = []

    def __init__(self, name, clock):
        if name == "A":
            self.worlds.append(Example())
        self.worlds[-1].hosts.append(self)
        super().__init__(self.worlds[-1], name, clock, seeded_ids("example %d %s" % (len(self.worlds), name)))

    def delta(self, since):
        to = next(h for h in self.world.hosts if h.summary is since)
        delta = super().delta(since)
        self.world.deltas.append(delta)
        self.world.line("cut", len(self.world.deltas), self.name, to.name)
        return delta

    def receive(self, delta):
        number = next(n for n, d in enumerate(self.world.deltas, 1) if d is delta)
        self.world.line("give", number, self.name)
        taken = super().receive(delta)
        if delta.rows:
            self.world.tree("tree", self)
        return taken


class Example:
    def __init__(self):
        self.lines, self.hosts, self.deltas, self.handles, self.handle = [], [], [], {}, 0

    def keep_handles(self):
        """Only the last commit of a handle closes it."""
        last = set()
        for i in reversed(range(len(self.lines))):
            fields = self.lines[i].split("\t")
            if fields[0] == "commit":
                self.lines[i] = "\t".join(fields[:-1] + [str(int(fields[3] in last))])
                last.add(fields[3])

    line = RecordedWorld.line
    tree = RecordedWorld.tree


KINDS = (("all", ALL, dict(skew=False)), ("skew", ALL, dict(skew=True)), ("equal", ALL, dict(skew=True, shared=True)),
         ("no-edits", NO_EDITS, dict(skew=True)), ("no-renames", NO_RENAMES, dict(skew=True)), ("publication", PUBLISHING, dict(skew=True)))
STEPS = (60, 150, 300)


def write(world, folder, name):
    world.tree("end", world.hosts[0])
    with open(os.path.join(folder, name + ".txt"), "w") as out:
        out.write("\n".join(world.lines) + "\n")


def record(folder, count):
    examples(ExampleRecorder)
    for n, world in enumerate(ExampleRecorder.worlds):
        world.keep_handles()
        write(world, folder, "example-%02d" % n)
    for n in range(count):
        label, ops, options = KINDS[n % len(KINDS)]
        world = RecordedWorld(7000 + n, 2 + n % 4, **options)
        for _ in range(STEPS[n % len(STEPS)]):
            world.step(ops)
        world.finish()
        write(world, folder, "%02d-%s" % (n, label))


if __name__ == "__main__":
    record(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 60)
