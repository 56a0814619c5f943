// Bytes from a peer that is broken or hostile: refused as a whole, and nothing changes.
#include <google/protobuf/unknown_field_set.h>

#include <random>

#include "catalogue_fixture.h"
#include "index/delta.h"
#include "index/rows.h"
#include "index/stamps.h"

namespace btfc::index {
namespace {

class HostileTest : public CatalogueTest {
 protected:
  Host a_{'A', &wall_}, b_{'B', &wall_};

  void SetUp() override {
    a_.Mkdir("/d");
    const Ino file = a_.Create("/d/f", "content");
    ASSERT_TRUE(a_->SetXattr(file, "user.x", "1", 0));
    ASSERT_TRUE(a_->SetAttributes(file, MtimeChange(5)));
    NewNode symlink = FileNode();
    symlink.kind = Kind::kSymlink;
    symlink.target = "d/f";
    a_.Make("/l", symlink);
    a_.Create("/gone", "x");
    a_.Unlink("/gone");
    a_.Rename("/l", "/m");
    ASSERT_TRUE(a_->Collect({}));  // it says what it knows
  }

  static std::string BytesOf(const DeviceId& device) {
    return {reinterpret_cast<const char*>(device.bytes.data()), device.bytes.size()};
  }

  wire::Part Part() {
    const Parts parts = Cut(a_, {});
    EXPECT_EQ(1u, parts.size());
    wire::Part part;
    EXPECT_TRUE(part.ParseFromString(parts.at(0)));
    return part;
  }

  static wire::Row* Find(wire::Part& part, wire::Row::BodyCase kind) {
    for (auto& row : *part.mutable_rows()) {
      if (row.body_case() == kind) return &row;
    }
    ADD_FAILURE() << "no such row";
    return nullptr;
  }

  std::error_code GiveError(const wire::Part& part) {
    const auto given = Give(b_, {part.SerializeAsString()});
    return given ? std::error_code() : given.error();
  }
};

TEST_F(HostileTest, TheDeltaIsGoodAsItIs) {
  EXPECT_FALSE(GiveError(Part()));
  EXPECT_EQ(a_.Show(), b_.Show());
}

struct Tampering {
  const char* name;
  wire::Row::BodyCase kind;
  std::function<void(wire::Row&)> change;
};

const Tampering kTamperings[] = {
    {"DotZero", wire::Row::kInode, [](auto& row) { row.set_dot_n(0); }},
    {"DotHuge", wire::Row::kInode, [](auto& row) { row.set_dot_n(~0ULL); }},
    {"DotBeyondUntil", wire::Row::kInode, [](auto& row) { row.set_dot_n(1000000); }},
    {"DotOfNoDevice", wire::Row::kInode, [](auto& row) { row.set_dot_device(77); }},
    {"NoBody", wire::Row::kInode, [](auto& row) { row.clear_inode(); }},
    {"StampOfNoDevice", wire::Row::kPlace,
     [](auto& row) { row.mutable_place()->mutable_stamp()->set_device(77); }},
    {"StampTimeHuge", wire::Row::kPlace,
     [](auto& row) { row.mutable_place()->mutable_stamp()->set_time_ns(INT64_MAX); }},
    {"StampTimeLow", wire::Row::kPlace,
     [](auto& row) { row.mutable_place()->mutable_stamp()->set_time_ns(INT64_MIN); }},
    {"StampLifeHuge", wire::Row::kPlace,
     [](auto& row) { row.mutable_place()->mutable_stamp()->set_life(0xFFFFFFFF); }},
    {"StampSubHuge", wire::Row::kPlace,
     [](auto& row) { row.mutable_place()->mutable_stamp()->set_sub(0xFFFFFFFF); }},
    {"NameEmpty", wire::Row::kPlace, [](auto& row) { row.mutable_place()->set_name(""); }},
    {"NameDot", wire::Row::kPlace, [](auto& row) { row.mutable_place()->set_name("."); }},
    {"NameDotDot", wire::Row::kPlace, [](auto& row) { row.mutable_place()->set_name(".."); }},
    {"NameWithSlash", wire::Row::kPlace,
     [](auto& row) { row.mutable_place()->set_name("../../etc/passwd"); }},
    {"NameWithNul", wire::Row::kPlace,
     [](auto& row) { row.mutable_place()->set_name(std::string("a\0b", 3)); }},
    {"NameLong", wire::Row::kPlace,
     [](auto& row) { row.mutable_place()->set_name(std::string(256, 'x')); }},
    {"PreviousNameBad", wire::Row::kPlace,
     [](auto& row) {
       row.mutable_place()->set_previous_parent(std::string(16, 'p'));
       row.mutable_place()->set_previous_name("a/b");
     }},
    {"LinkIdShort", wire::Row::kPlace, [](auto& row) { row.mutable_place()->set_link("abc"); }},
    {"LinkIdZero", wire::Row::kPlace,
     [](auto& row) { row.mutable_place()->set_link(std::string(16, '\0')); }},
    {"InodeIdZero", wire::Row::kPlace,
     [](auto& row) { row.mutable_place()->set_inode(std::string(16, '\0')); }},
    {"InItself", wire::Row::kPlace,
     [](auto& row) { row.mutable_place()->set_parent(row.place().link()); }},
    {"ParentIdLong", wire::Row::kPlace,
     [](auto& row) { row.mutable_place()->set_parent(std::string(17, 'x')); }},
    {"KindZero", wire::Row::kInode, [](auto& row) { row.mutable_inode()->set_kind(0); }},
    {"KindUnknown", wire::Row::kInode, [](auto& row) { row.mutable_inode()->set_kind(8); }},
    {"RootAsInode", wire::Row::kInode,
     [](auto& row) { row.mutable_inode()->set_inode(std::string(16, '\0')); }},
    {"TargetOfAFolder", wire::Row::kInode, [](auto& row) { row.mutable_inode()->set_target("x"); }},
    {"SymlinkToNothing", wire::Row::kInode, [](auto& row) { row.mutable_inode()->set_kind(3); }},
    {"RdevOfAFolder", wire::Row::kInode, [](auto& row) { row.mutable_inode()->set_rdev(1); }},
    {"CopyOfItself", wire::Row::kInode,
     [](auto& row) {
       row.mutable_inode()->set_kind(1);
       row.mutable_inode()->set_copy_of(row.inode().inode());
     }},
    {"ModeWide", wire::Row::kAttributes,
     [](auto& row) { row.mutable_attributes()->set_mode(0100644); }},
    {"OwnerNameLong", wire::Row::kAttributes,
     [](auto& row) { row.mutable_attributes()->set_user(std::string(257, 'u')); }},
    {"AclLong", wire::Row::kAttributes,
     [](auto& row) { row.mutable_attributes()->set_acl_access(std::string(40000, 'a')); }},
    {"RegisterUnnamed", wire::Row::kRegister,
     [](auto& row) { row.mutable_register_()->set_name(""); }},
    {"RegisterUnknown", wire::Row::kRegister,
     [](auto& row) { row.mutable_register_()->set_name("z"); }},
    {"XattrNameLong", wire::Row::kRegister,
     [](auto& row) { row.mutable_register_()->set_name("x" + std::string(256, 'n')); }},
    {"XattrValueLong", wire::Row::kRegister,
     [](auto& row) { row.mutable_register_()->set_value(std::string(65537, 'v')); }},
    {"MtimeShort", wire::Row::kRegister,
     [](auto& row) {
       row.mutable_register_()->set_name("m");
       row.mutable_register_()->set_value("1234567");
     }},
    {"InlineOtherBytes", wire::Row::kVersion,
     [](auto& row) { row.mutable_version()->set_inline_("CONTENT"); }},
    {"InlineMissing", wire::Row::kVersion,
     [](auto& row) { row.mutable_version()->clear_inline_(); }},
    {"InlineLong", wire::Row::kVersion,
     [](auto& row) {
       row.mutable_version()->set_inline_(std::string(20000, 'x'));
       row.mutable_version()->set_size(20000);
     }},
    {"SizeHuge", wire::Row::kVersion,
     [](auto& row) {
       row.mutable_version()->clear_inline_();
       row.mutable_version()->set_size(~0ULL);
     }},
    {"RootShort", wire::Row::kVersion, [](auto& row) { row.mutable_version()->set_root("abc"); }},
    {"VersionOfTheRoot", wire::Row::kVersion,
     [](auto& row) { row.mutable_version()->set_inode(std::string(16, '\0')); }},
    {"CommitOfNobody", wire::Row::kVersion,
     [](auto& row) { row.mutable_version()->mutable_commit()->set_device(99); }},
    {"CommitZero", wire::Row::kVersion,
     [](auto& row) { row.mutable_version()->mutable_commit()->set_n(0); }},
    {"ContextTwice", wire::Row::kVersion,
     [](auto& row) {
       for (int i = 0; i < 2; ++i) {
         row.mutable_version()->mutable_known()->mutable_context()->add_known()->set_n(1);
       }
     }},
    {"AsideTooMuch", wire::Row::kVersion,
     [](auto& row) {
       for (int i = 0; i <= kAsideMax; ++i) {
         row.mutable_version()->mutable_known()->add_aside()->set_n(1);
       }
     }},
    {"MergedIntoHigher", wire::Row::kRemoval,
     [](auto& row) { row.mutable_removal()->set_merged_into(std::string(16, '\xff')); }},
    {"MergedIntoItself", wire::Row::kRemoval,
     [](auto& row) { row.mutable_removal()->set_merged_into(row.removal().link()); }},
    {"MergedIntoTheRoot", wire::Row::kRemoval,
     [](auto& row) { row.mutable_removal()->set_merged_into(std::string(16, '\0')); }},
    {"HostNameLong", wire::Row::kDevice,
     [](auto& row) { row.mutable_device()->set_name(std::string(256, 'h')); }},
    {"RoleUnknown", wire::Row::kDevice, [](auto& row) { row.mutable_device()->set_role(9); }},
    {"KeyOfAnother", wire::Row::kDevice,
     [](auto& row) { row.mutable_device()->set_key(std::string(32, 'k')); }},
    {"DeviceOfAnotherLife", wire::Row::kDevice,
     [](auto& row) { row.mutable_device()->set_incarnation(row.device().incarnation() + 1); }},
    {"DeviceOfAnother", wire::Row::kDevice,
     [](auto& row) { row.mutable_device()->set_device(std::string(16, 'o')); }},
    {"RemovalThatIsNone", wire::Row::kDevice,
     [](auto& row) { row.mutable_device()->set_role(kRemovedHost); }},
    {"SeenByAnother", wire::Row::kSeen,
     [](auto& row) { row.mutable_seen()->set_device(std::string(16, 'o')); }},
    {"SeenByNobody", wire::Row::kSeen, [](auto& row) { row.mutable_seen()->set_device("o"); }},
    {"SeenNothingOfADevice", wire::Row::kSeen,
     [](auto& row) { row.mutable_seen()->add_known()->set_device(std::string(16, 'o')); }},
    {"SeenTwice", wire::Row::kSeen,
     [](auto& row) { *row.mutable_seen()->add_known() = row.seen().known(0); }},
    {"HorizonOfNoDevice", wire::Row::kSeen,
     [](auto& row) { row.mutable_seen()->add_horizon()->set_n(1); }},
    {"KeyShort", wire::Row::kDevice, [](auto& row) { row.mutable_device()->set_key("k"); }},
};

class TamperingTest : public HostileTest, public testing::WithParamInterface<Tampering> {};

TEST_P(TamperingTest, IsRefusedWhole) {
  wire::Part part = Part();
  GetParam().change(*Find(part, GetParam().kind));
  EXPECT_EQ(make_error_code(Error::kCorrupt), GiveError(part));
  EXPECT_TRUE(b_.Show().empty());
  EXPECT_EQ(1u, b_->Known().size());
  // What is good goes on.
  EXPECT_FALSE(GiveError(Part()));
}

INSTANTIATE_TEST_SUITE_P(Rows, TamperingTest, testing::ValuesIn(kTamperings),
                         [](const auto& tampering) { return std::string(tampering.param.name); });

// A row of another host's device that is good by itself; and what a member cannot do with it.
TEST_F(HostileTest, OnlyItsOwnHostNamesADevice) {
  Host c{'C', &wall_};
  ASSERT_FALSE(Give(c, Cut(a_, {})).has_error());
  wire::Part part = Part();
  wire::Row* const own = Find(part, wire::Row::kDevice);
  const std::uint32_t writer = own->dot_device();
  wire::Row named = *own;
  named.mutable_device()->set_device(BytesOf(c->self()));
  named.mutable_device()->set_key(std::string(32, 'C'));
  named.mutable_device()->set_incarnation(c->incarnation());
  named.mutable_device()->set_name("not its name");
  *own = named;
  EXPECT_EQ(make_error_code(Error::kCorrupt), GiveError(part)) << "the writer's dot, and its stamp";
  part.add_devices(named.device().device());
  const auto third = static_cast<std::uint32_t>(part.devices_size() - 1);
  own->set_dot_device(third);
  own->set_dot_n(1);
  auto* const until = part.mutable_until()->add_known();
  until->set_device(third);
  until->set_n(1);
  EXPECT_EQ(make_error_code(Error::kCorrupt), GiveError(part)) << "the writer's stamp";
  own->mutable_device()->mutable_stamp()->set_device(third);
  own->set_dot_device(writer);
  EXPECT_EQ(make_error_code(Error::kCorrupt), GiveError(part)) << "the writer's dot";
}

// security.* of others does not count here, whoever's stamp it carries.
TEST_F(HostileTest, NobodySetsPrivilegedXattrsAsAnother) {
  const Ino mine = b_.Create("/mine", "x");
  ASSERT_TRUE(b_->SetXattr(mine, "security.own", "1", 0));
  wire::Part part = Part();
  wire::Row* row = nullptr;
  for (auto& one : *part.mutable_rows()) {
    if (one.body_case() == wire::Row::kRegister && one.register_().name() == "xuser.x") row = &one;
  }
  ASSERT_NE(nullptr, row);
  row->mutable_register_()->set_name("xsecurity.capability");
  part.add_devices(BytesOf(b_->self()));
  row->mutable_register_()->mutable_stamp()->set_device(
      static_cast<std::uint32_t>(part.devices_size() - 1));
  EXPECT_FALSE(GiveError(part));
  const Ino file = b_.NodeAt("/d/f").ino;
  EXPECT_EQ(Errno(ENODATA), b_->GetXattr(file, "security.capability").error());
  EXPECT_TRUE(b_->ListXattrs(file).value().empty());
  EXPECT_EQ("1", b_->GetXattr(mine, "security.own").value());
  EXPECT_EQ(std::vector<std::string>{"security.own"}, b_->ListXattrs(mine).value());
}

TEST_F(HostileTest, PartsThatAreNotAsTheyShouldBe) {
  wire::Part part = Part();
  part.set_format(2);
  EXPECT_EQ(make_error_code(Error::kTooNew), GiveError(part));
  part.set_format(0);
  EXPECT_EQ(make_error_code(Error::kCorrupt), GiveError(part));
  part = Part();
  part.set_number(1);
  EXPECT_EQ(make_error_code(Error::kCorrupt), GiveError(part));
  part = Part();
  part.clear_until();
  EXPECT_EQ(make_error_code(Error::kCorrupt), GiveError(part));
  part = Part();
  part.mutable_horizon()->add_known()->set_device(77);
  EXPECT_EQ(make_error_code(Error::kCorrupt), GiveError(part));
  part = Part();
  part.mutable_collected()->add_known()->set_n(0);
  EXPECT_EQ(make_error_code(Error::kCorrupt), GiveError(part));
  part = Part();
  part.set_devices(0, "short");
  EXPECT_EQ(make_error_code(Error::kCorrupt), GiveError(part));
  part = Part();
  part.set_last(false);
  EXPECT_EQ(make_error_code(Error::kCorrupt), GiveError(part)) << "it is not complete";
  part = Part();
  for (int i = 0; i <= kDevicesMax; ++i) part.add_devices(std::string(16, 'd'));
  EXPECT_EQ(make_error_code(Error::kCorrupt), GiveError(part));
  EXPECT_EQ(make_error_code(Error::kCorrupt),
            Give(b_, {std::string(kDeltaPartMax + 1, '\0')}).error());
  EXPECT_EQ(make_error_code(Error::kCorrupt), Give(b_, {"garbage"}).error());
  EXPECT_TRUE(b_.Show().empty());
}

TEST_F(HostileTest, BitsAreFlipped) {
  const std::string good = Part().SerializeAsString();
  std::mt19937 random(1);
  int taken = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = good;
    const int flips = 1 + static_cast<int>(random() % 4);
    for (int flip = 0; flip < flips; ++flip) {
      bytes[random() % bytes.size()] ^= static_cast<char>(1U << random() % 8);
    }
    if (random() % 5 == 0) bytes.resize(random() % bytes.size());
    const auto writer = b_->Receive();
    const auto added = writer->Add(bytes);
    if (!added) continue;
    // Well-formed by chance: then it may be taken, but the catalogue stays whole.
    if (writer->Finish()) ++taken;
  }
  EXPECT_TRUE(b_->CheckIntegrity());
  EXPECT_GT(taken, 0);
}

// Rows that are well formed, and speak of things that no host of ours would write.
TEST_F(HostileTest, RowsThatContradictEachOther) {
  Send(a_, b_);
  std::mt19937 random(2);
  for (int round = 0; round < 200; ++round) {
    wire::Part part = Part();
    // All ids become those of other things, dots are new.
    std::vector<std::string> ids = {std::string(16, '\x01'), std::string(16, '\xfe')};
    for (const auto& row : part.rows()) {
      if (row.has_inode()) ids.push_back(row.inode().inode());
      if (row.has_place()) ids.push_back(row.place().link());
    }
    const auto any = [&] { return ids[random() % ids.size()]; };
    std::uint64_t n = 1000 + static_cast<std::uint64_t>(round) * 100;
    for (auto& row : *part.mutable_rows()) {
      row.set_dot_n(++n);
      if (row.has_inode() && random() % 3 == 0) row.mutable_inode()->set_inode(any());
      if (row.has_place()) {
        auto* place = row.mutable_place();
        if (random() % 2 == 0) place->set_link(any());
        if (random() % 2 == 0) place->set_inode(any());
        if (random() % 2 == 0) place->set_parent(any());
        place->mutable_stamp()->set_time_ns(static_cast<std::int64_t>(random()));
        place->mutable_stamp()->set_life(random() % 3);
      }
      if (row.has_version() && random() % 2 == 0) row.mutable_version()->set_inode(any());
      if (row.has_removal()) {
        row.mutable_removal()->set_link(any());
        const std::string merged = any();
        if (merged < row.removal().link()) row.mutable_removal()->set_merged_into(merged);
      }
    }
    for (auto& dot : *part.mutable_until()->mutable_known()) dot.set_n(n);
    const auto error = GiveError(part);
    EXPECT_TRUE(!error || error == make_error_code(Error::kCorrupt)) << error.message();
  }
  b_.Show();
  b_.Create("/still works", "x");
  EXPECT_EQ("x", b_.Bytes("/still works"));
  b_.Reopen();
}

TEST_F(HostileTest, AUsedUpStampIsRefusedOnlyWhenARepairNeedsAnother) {
  Host c('C', &wall_);
  c.Create("/m", "other");
  wire::Part part = Part();
  for (auto& row : *part.mutable_rows()) {
    if (!row.has_place() || row.place().name() != "m") continue;
    row.mutable_place()->mutable_stamp()->set_sub(kStampCountMax);
    row.mutable_place()->mutable_stamp()->set_time_ns(1);
  }
  EXPECT_FALSE(GiveError(part));
  EXPECT_EQ(make_error_code(Error::kCorrupt), Give(c, {part.SerializeAsString()}).error());
  EXPECT_EQ("other", c.Bytes("/m"));
  EXPECT_EQ(1u, c.Show().size());
}

TEST_F(HostileTest, WhatANewerVersionAddsIsKeptAndPassedOn) {
  wire::Part part = Part();
  const std::string future = "something new";
  auto* place = Find(part, wire::Row::kPlace)->mutable_place();
  place->GetReflection()->MutableUnknownFields(place)->AddLengthDelimited(50, future);
  wire::Row* added = part.add_rows();
  added->set_dot_device(part.rows(0).dot_device());
  added->set_dot_n(part.until().known(0).n() + 1);
  part.mutable_until()->mutable_known(0)->set_n(added->dot_n());
  added->GetReflection()->MutableUnknownFields(added)->AddLengthDelimited(60, future);
  ASSERT_EQ(1, part.until().known_size());
  ASSERT_FALSE(GiveError(part));
  Host c('C', &wall_);
  Send(b_, c);
  c.Reopen();
  wire::Part passed;
  ASSERT_TRUE(passed.ParseFromString(Cut(c, {}).at(0)));
  int fields = 0, rows = 0;
  for (const auto& row : passed.rows()) {
    if (row.has_place() && UnknownFields(row.place()).find(future) != std::string::npos) ++fields;
    if (UnknownFields(row).find(future) != std::string::npos) ++rows;
  }
  EXPECT_EQ(1, fields);
  EXPECT_EQ(1, rows);
}

}  // namespace
}  // namespace btfc::index
