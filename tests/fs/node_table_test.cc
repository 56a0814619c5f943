#include "fs/node_table.h"

#include <gtest/gtest.h>

namespace btfc::fs {
namespace {

constexpr index::Ino kIno = 42;

TEST(NodeTable, AnInodeGoesByItsOwnNumberUntilItIsForgotten) {
  NodeTable nodes;
  EXPECT_FALSE(nodes.Knows(kIno));
  EXPECT_EQ(nodes.Reference(kIno), kIno);
  EXPECT_EQ(nodes.Reference(kIno), kIno);
  EXPECT_EQ(nodes.InoOf(kIno), kIno);
  EXPECT_FALSE(nodes.Forget(kIno, 1));
  EXPECT_TRUE(nodes.Knows(kIno));
  const auto forgotten = nodes.Forget(kIno, 1);
  ASSERT_TRUE(forgotten);
  EXPECT_EQ(forgotten->ino, kIno);
  EXPECT_FALSE(forgotten->nameless);
  EXPECT_EQ(nodes.size(), 0U);
}

TEST(NodeTable, ANamelessInodeIsDroppedWithItsLastReference) {
  NodeTable nodes;
  EXPECT_FALSE(nodes.SetNameless(kIno, true)) << "nobody holds it";
  nodes.Reference(kIno);
  EXPECT_TRUE(nodes.SetNameless(kIno, true));
  const auto forgotten = nodes.Forget(kIno, 1);
  ASSERT_TRUE(forgotten);
  EXPECT_TRUE(forgotten->nameless);

  nodes.Reference(kIno);
  nodes.SetNameless(kIno, true);
  nodes.SetNameless(kIno, false);
  EXPECT_FALSE(nodes.Forget(kIno, 1)->nameless);
}

// File handles are kept for longer than that.
TEST(NodeTable, NumbersOfNewNodesAreNotUsedAgainByTheNextMount) {
  NodeTable nodes[2];
  NodeId renumbered[2] = {};
  for (int mount = 0; mount < 2; ++mount) {
    const index::Ino ino = kIno + static_cast<index::Ino>(mount);
    nodes[mount].Reference(ino);
    ASSERT_TRUE(nodes[mount].Supersede(ino));
    renumbered[mount] = nodes[mount].Reference(ino);
    EXPECT_EQ(nodes[mount].InoOf(renumbered[mount]), ino);
  }
  EXPECT_EQ(nodes[0].InoOf(renumbered[1]), 0U);
  EXPECT_EQ(nodes[1].InoOf(renumbered[0]), 0U);
}

TEST(NodeTable, ANewVersionUnderReadersGetsANodeOfItsOwn) {
  NodeTable nodes;
  EXPECT_FALSE(nodes.Supersede(kIno)) << "the kernel does not have it: nothing to set apart";
  nodes.Reference(kIno);
  EXPECT_EQ(nodes.Supersede(kIno), kIno);
  const NodeId second = nodes.Reference(kIno);
  EXPECT_NE(second, kIno);
  EXPECT_EQ(nodes.InoOf(second), kIno);
  EXPECT_TRUE(nodes.Superseded(kIno));
  EXPECT_FALSE(nodes.Superseded(second));

  EXPECT_EQ(nodes.Supersede(kIno), second);
  const NodeId third = nodes.Reference(kIno);
  EXPECT_NE(third, second);
  EXPECT_TRUE(nodes.Superseded(second));

  EXPECT_FALSE(nodes.Forget(second, 1)) << "the inode lives on under its other nodes";
  EXPECT_FALSE(nodes.Forget(third, 1));
  EXPECT_EQ(nodes.Reference(kIno), third) << "the old content still holds the first number";
  EXPECT_FALSE(nodes.Forget(third, 1));
  const auto forgotten = nodes.Forget(kIno, 1);
  ASSERT_TRUE(forgotten);
  EXPECT_EQ(forgotten->ino, kIno);
  EXPECT_EQ(nodes.Reference(kIno), kIno) << "nothing is left of the old ones";
}

TEST(NodeTable, NamelessnessOutlivesRenumbering) {
  NodeTable nodes;
  nodes.Reference(kIno);
  nodes.SetNameless(kIno, true);
  nodes.Supersede(kIno);
  const auto forgotten = nodes.Forget(kIno, 1);
  ASSERT_TRUE(forgotten);
  EXPECT_TRUE(forgotten->nameless);
}

TEST(NodeTable, OtherInodesAreNotTouchedByRenumbering) {
  NodeTable nodes;
  nodes.Reference(kIno);
  nodes.Reference(7);
  nodes.Supersede(kIno);
  EXPECT_EQ(nodes.Reference(7), 7U);
  EXPECT_FALSE(nodes.Forget(7, 1));
  ASSERT_TRUE(nodes.Forget(7, 1));
  EXPECT_FALSE(nodes.Knows(7));
}

TEST(NodeTable, WhenTheKernelGoesTheNamelessOnesAreNamed) {
  NodeTable nodes;
  nodes.Reference(1);
  nodes.Reference(kIno);
  nodes.Reference(43);
  nodes.SetNameless(43, true);
  EXPECT_EQ(nodes.Clear(), std::vector<index::Ino>{43});
  EXPECT_EQ(nodes.size(), 0U);
}

}  // namespace
}  // namespace btfc::fs
