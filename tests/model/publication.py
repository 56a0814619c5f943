"""A host whose new files wait for their first content.

A file that was made here and has no committed version yet is this host's own: its rows have no
dot and travel nowhere. What its names replaced is removed for this host's users at once and for
all others by the first commit, which publishes everything in one step. Repairs know nothing of
such a file; at a name that it shares with another link it hides the other until then.
"""
from replication import *


class PublishingHost(Host):
    def __init__(self, *args):
        super().__init__(*args)
        self.waiting = {}                                  # inode -> its links
        self.instead = {}                                  # link that it replaced -> (waiting inode, removal)

    # ------------------------------------------------------------- reading
    def delta(self, since):
        return Delta(dict(since), dict(self.summary),
                     [r for r in self.rows.values() if r.dot and not covers(since, r.dot)])

    def taken(self, link):
        """Replaced by a file that waits, and not moved elsewhere since."""
        return link in self.instead and not self.outlives(self.instead[link][1].seen, link)

    def our_links(self, inode):
        return sorted(self.waiting.get(inode, ())) or [l for l in self.live_links(inode) if not self.taken(l)]

    def tree(self):
        """path -> link, as this host's users see it."""
        ours = sorted(l for links in self.waiting.values() for l in links)
        return self.paths([l for l in self.all_live_links() if not self.taken(l)], ours)

    def published_tree(self):
        return super().tree()

    # ---------------------------------------------------- users' operations
    def add_link(self, path, inode, stamp, link):
        self.publish_removals_at(*self.split(path))
        super().add_link(path, inode, stamp, link)

    def publish_removals_at(self, parent, name):
        """A link that all see comes to this name."""
        for link in [l for l in self.instead if (self.parent(l), self.place(l).name) == (parent, name)]:
            self.publish_removal(link)

    def row(self, table, key, stamp, value):
        self.rows[table, key] = Row(table, key, stamp, value, None)

    def make(self, path, mode=0o644):
        inode, link, stamp = self.new_id(), self.new_id(), self.now()
        parent, name = self.split(path)
        self.row("inode", inode, stamp, Inode("file"))
        self.row("attr", inode, stamp, mode)
        self.row("place", link, stamp, Place(parent, name, inode, None))
        self.waiting[inode] = {link}
        return inode

    def commit(self, handle, root):
        if handle[0] in self.waiting:
            self.publish(handle[0])
        super().commit(handle, root)

    def publish(self, inode):
        """Its rows, its names, what they replaced and what others that wait replaced there."""
        links = self.waiting.pop(inode)
        for link in [l for l, (waits, _) in self.instead.items() if waits == inode]:
            self.publish_removal(link)
        for link in links:
            self.publish_removals_at(self.parent(link), self.place(link).name)
        for key in [("inode", inode), ("attr", inode)] + [("place", l) for l in links]:
            row = self.rows.pop(key)
            self.merge(row._replace(dot=self.next_dot()))

    def publish_removal(self, link):
        self.write("removal", link, None, self.instead.pop(link)[1])

    def chmod(self, path, mode):
        inode = self.place(self.tree()[path]).inode
        if inode not in self.waiting:
            return super().chmod(path, mode)
        self.row("attr", inode, self.now(self.rows["attr", inode].stamp), mode)

    def link(self, path, new):
        inode = self.place(self.tree()[path]).inode
        if inode not in self.waiting:
            return super().link(path, new)
        link, (parent, name) = self.new_id(), self.split(new)
        self.row("place", link, self.now(), Place(parent, name, inode, None))
        self.waiting[inode].add(link)

    def unlink(self, path):
        self.take_away(self.tree()[path], None)
        self.repair()

    def rmdir(self, path):
        """Names below that others still see go first."""
        folder = self.tree()[path]
        for link in [l for l in self.instead if self.parent(l) == folder]:
            self.publish_removal(link)
        super().rmdir(path)
        self.repair()

    def take_away(self, link, successor):
        """A user's removal of a name; successor: the file that waits and takes it over."""
        inode = self.place(link).inode
        last = self.our_links(inode) == [link]
        if inode in self.waiting:
            self.waiting[inode].discard(link)
            del self.rows["place", link]
            if last:
                self.drop(inode, successor)
        else:
            removal = Removal(self.placed(link), self.known(inode, True) if last else Known())
            if successor:
                self.instead[link] = successor, removal
            else:
                self.write("removal", link, None, removal)

    def drop(self, inode, successor):
        """A file that was never published: what it had replaced goes now, or with its successor."""
        del self.waiting[inode], self.rows["inode", inode], self.rows["attr", inode]
        for link in [l for l, (waits, _) in self.instead.items() if waits == inode]:
            if successor:
                self.instead[link] = successor, self.instead[link][1]
            else:
                self.publish_removal(link)

    def rename(self, path, new):
        tree = self.tree()
        link, over = tree[path], tree.get(new)
        inode, (parent, name) = self.place(link).inode, self.split(new)
        stamps = [self.placed(link)] + self.version_stamps(inode)
        if over:
            stamps += [self.placed(over)] + self.version_stamps(self.place(over).inode)
            self.take_away(over, inode if inode in self.waiting else None)
        old = self.place(link)
        moved = self.now(*stamps), old._replace(parent=parent, name=name, previous=(old.parent, old.name))
        if inode in self.waiting:
            self.row("place", link, *moved)
        else:
            self.publish_removals_at(parent, name)
            self.write("place", link, *moved)
        self.repair()
