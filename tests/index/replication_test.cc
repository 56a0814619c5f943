// What other hosts see.
#include "catalogue_fixture.h"

namespace btfc::index {
namespace {

using Shown = std::map<std::string, std::string>;

class ReplicationTest : public CatalogueTest {
 protected:
  Host a_{'A', &wall_}, b_{'B', &wall_}, c_{'C', &wall_};
};

TEST_F(ReplicationTest, EverythingTravels) {
  a_.Mkdir("/d");
  const Ino file = a_.Create("/d/f", "x");
  a_.Link("/d/f", "/g");
  NewNode symlink = FileNode(0777);
  symlink.kind = Kind::kSymlink;
  symlink.target = "d/f";
  a_.Make("/l", symlink);
  ASSERT_TRUE(a_->SetXattr(file, "user.x", "1", 0));
  AttributeChange change;
  change.mode = 0604;
  change.acl_access = "acl";
  change.mtime_ns = 99;
  ASSERT_TRUE(a_->SetAttributes(file, change));
  ASSERT_TRUE(a_->SetAttributes(kRootIno, ModeChange(0701)));
  const Shown shown = Exchange({&a_, &b_});
  EXPECT_EQ((Shown{{"/d", "/"}, {"/d/f", "x"}, {"/g", "x"}, {"/l", "-> d/f"}}), shown);
  const Node node = b_.NodeAt("/g");
  EXPECT_EQ(0604u, node.mode);
  EXPECT_EQ(2u, node.nlink);
  EXPECT_EQ(99, node.mtime_ns);
  EXPECT_EQ("user", node.owner.user);
  EXPECT_EQ(a_.NodeAt("/g").ctime_ns, node.ctime_ns);
  EXPECT_EQ("acl", b_->AclAccess(node.ino).value());
  EXPECT_EQ("1", b_->GetXattr(node.ino, "user.x").value());
  EXPECT_EQ(0701u, b_->Get(kRootIno).value().mode);
  EXPECT_EQ(a_.NodeAt("/d").mtime_ns, b_.NodeAt("/d").mtime_ns);
  EXPECT_EQ("A", b_->History(node.ino).value().at(0).host);
  ASSERT_EQ(2u, b_->Devices().value().size());
}

TEST_F(ReplicationTest, PrivilegedXattrsOfOthersAreNotShownUnlessAsked) {
  const Ino file = a_.Create("/f", "x");
  for (const char* name : {"security.capability", "trusted.t", "user.u"}) {
    ASSERT_TRUE(a_->SetXattr(file, name, "1", 0));
  }
  EXPECT_EQ(3u, a_->ListXattrs(file).value().size());
  Exchange({&a_, &b_});
  const Ino there = b_.Find("/f");
  EXPECT_EQ(std::vector<std::string>{"user.u"}, b_->ListXattrs(there).value());
  EXPECT_EQ(ENODATA, ToErrno(b_->GetXattr(there, "security.capability").error()));
  b_.Close();
  auto options = b_.Options();
  options.foreign_privileged_xattrs = true;
  const auto numeric = Catalogue::Open(options);
  ASSERT_TRUE(numeric);
  EXPECT_EQ(3u, numeric.value()->ListXattrs(there).value().size());
  EXPECT_EQ("1", numeric.value()->GetXattr(there, "trusted.t").value());
}

TEST_F(ReplicationTest, NothingToSayIsSaidWithNothing) {
  a_.Create("/f", "x");
  Exchange({&a_, &b_});
  EXPECT_EQ(nullptr, a_->Cut(b_->Known()).value());
}

TEST_F(ReplicationTest, ARenamedFolderAndADeletionAreOneRowEach) {
  a_.Mkdir("/d");
  for (int i = 0; i < 50; ++i) a_.Create("/d/f" + std::to_string(i), "x");
  Exchange({&a_, &b_});
  a_.Rename("/d", "/e");
  a_.Unlink("/e/f7");
  const Parts parts = Cut(a_, b_->Known());
  ASSERT_EQ(1u, parts.size());
  EXPECT_LT(parts[0].size(), 600u);
  ASSERT_TRUE(Give(b_, parts));
  EXPECT_EQ(a_.Show(), b_.Show());
  EXPECT_EQ(50u, b_.Show().size());
}

TEST_F(ReplicationTest, ADeltaIsTakenOnlyOverWhatItBeginsAfter) {
  a_.Create("/f", "x");
  const Summary early = a_->Known();
  a_.Create("/g", "x");
  EXPECT_EQ(make_error_code(Error::kNotCovered), Give(b_, Cut(a_, early)).error());
  EXPECT_TRUE(b_.Show().empty());
}

TEST_F(ReplicationTest, AnybodyRelaysAndDoublesDoNoHarm) {
  a_.Create("/f", "x");
  const Parts parts = Cut(a_, {});
  Send(a_, b_);
  Send(b_, c_);
  EXPECT_EQ("x", c_.Bytes("/f"));
  c_.Unlink("/f");
  EXPECT_TRUE(Give(c_, parts));
  EXPECT_TRUE(c_.Show().empty());
  EXPECT_TRUE(Exchange({&a_, &b_, &c_}).empty());
}

TEST_F(ReplicationTest, ABigClusterGoesInManyParts) {
  const std::string bytes(kInlineMax, 'x');
  {
    Catalogue::Batch batch(*a_);
    for (int i = 0; i < 60; ++i) a_.Create("/f" + std::to_string(i), bytes);
    ASSERT_TRUE(batch.Finish());
  }
  const Ino file = a_.Find("/f1");
  ASSERT_TRUE(a_->SetXattr(file, "user.big", std::string(65536, 'y'), 0));
  const Parts parts = Cut(a_, {});
  EXPECT_GT(parts.size(), 4u);
  // Out of order, or not all of it: refused.
  Parts wrong = parts;
  std::swap(wrong[1], wrong[2]);
  EXPECT_EQ(make_error_code(Error::kCorrupt), Give(b_, wrong).error());
  wrong = parts;
  wrong.pop_back();
  EXPECT_EQ(make_error_code(Error::kCorrupt), Give(b_, wrong).error());
  EXPECT_TRUE(Give(b_, parts));
  EXPECT_EQ(a_.Show(), b_.Show());
}

}  // namespace
}  // namespace btfc::index
