// Taking folders into the cluster.
#include "fs/import.h"

#include <sys/fsuid.h>
#include <sys/xattr.h>

#include "tests/fs/files_fixture.h"

namespace btfc::fs {
namespace {

class ImportTest : public testing::Test {
 protected:
  ImportTest() : host_('a') {
    std::filesystem::create_directory(from_);
    host_.Start();
  }

  Result<ImportProgress> Run(ImportMode mode = ImportMode::kCopy, int cancel_after = 1 << 30) {
    const auto folder = OpenFile(from_, O_RDONLY | O_DIRECTORY);
    EXPECT_TRUE(folder);
    ImportOptions options;
    options.mode = mode;
    int asked = 0;
    return Import(
        folder.value().get(), *host_.catalogue, *host_.store, options, [](const ImportProgress&) {},
        [&] { return ++asked > cancel_after; },
        [this](const std::vector<index::Change>& changes) {
          for (const auto& change : changes) appeared_.insert(change.name);
        });
  }
  index::Node At(const std::string& path) {
    index::Node node;
    node.ino = index::kRootIno;
    for (const auto& part : std::filesystem::path(path)) {
      const auto next = host_.catalogue->Lookup(node.ino, part.string());
      if (!next) return {};
      node = next.value();
    }
    return node;
  }
  std::string BytesAt(const std::string& path) {
    const auto ino = At(path).ino;
    return ino == 0 ? "no file" : host_.ReadAll(ino);
  }
  std::set<std::string> Names(index::Ino folder = index::kRootIno) {
    std::set<std::string> names;
    const auto entries = host_.catalogue->List(folder, 0, 1000);
    EXPECT_TRUE(entries);
    if (entries) {
      for (const auto& entry : entries.value()) names.insert(entry.name);
    }
    return names;
  }

  Host host_;
  TempDir dir_;
  const std::filesystem::path from_ = dir_.path() / "from";
  std::set<std::string> appeared_;
};

class ImportModes : public ImportTest, public testing::WithParamInterface<ImportMode> {};
INSTANTIATE_TEST_SUITE_P(Modes, ImportModes, testing::Values(ImportMode::kCopy, ImportMode::kLink));

TEST_P(ImportModes, EverythingOfATree) {
  std::filesystem::create_directories(from_ / "folder/deep");
  WriteFile(from_ / "empty", "");
  WriteFile(from_ / "small", "small");
  WriteFile(from_ / "folder/large", Bytes(kLarge));
  WriteFile(from_ / "folder/deep/middle", Bytes(kMiddle));
  std::filesystem::create_symlink("../nowhere", from_ / "folder/symlink");
  std::filesystem::create_hard_link(from_ / "folder/large", from_ / "folder/deep/again");
  std::filesystem::create_hard_link(from_ / "small", from_ / "small too");
  ASSERT_EQ(::mkfifo((from_ / "fifo").c_str(), 0640), 0);
  ASSERT_EQ(::chmod((from_ / "small").c_str(), 04751), 0);
  ASSERT_EQ(::chmod((from_ / "folder").c_str(), 01770), 0);
  const timespec times[2] = {TimespecOf(5), TimespecOf(1'234'567'890'123'456'789)};
  for (const char* path : {"small", "folder/large", "folder", "folder/symlink"}) {
    ASSERT_EQ(::utimensat(AT_FDCWD, (from_ / path).c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
  }
  const bool xattrs = ::setxattr((from_ / "small").c_str(), "user.test", "value", 5, 0) == 0;

  const auto imported = Run(GetParam());
  ASSERT_TRUE(imported) << imported.error().message();
  EXPECT_EQ(imported.value().files, 10U);
  EXPECT_EQ(imported.value().bytes, 5 + kLarge + kMiddle);
  EXPECT_EQ(Names(), (std::set<std::string>{"empty", "small", "small too", "folder", "fifo"}));
  EXPECT_EQ(appeared_.size(), 10U);
  EXPECT_EQ(BytesAt("empty"), "");
  EXPECT_TRUE(Same(BytesAt("small"), "small"));
  EXPECT_TRUE(Same(BytesAt("folder/large"), Bytes(kLarge)));
  EXPECT_TRUE(Same(BytesAt("folder/deep/middle"), Bytes(kMiddle)));
  EXPECT_EQ(At("folder/large").ino, At("folder/deep/again").ino);
  EXPECT_EQ(At("small").ino, At("small too").ino);
  EXPECT_EQ(At("small").nlink, 2U);
  EXPECT_EQ(At("small").mode, 04751U);
  EXPECT_EQ(At("folder").mode, 01770U);
  EXPECT_EQ(At("fifo").kind, index::Kind::kFifo);
  EXPECT_EQ(At("fifo").mode, 0640U);
  EXPECT_EQ(host_.catalogue->Target(At("folder/symlink").ino).value(), "../nowhere");
  for (const char* path : {"small", "folder/large", "folder", "folder/symlink"}) {
    EXPECT_EQ(At(path).mtime_ns, 1'234'567'890'123'456'789) << path;
  }
  EXPECT_EQ(At("small").owner.uid, ::getuid());
  EXPECT_TRUE(At("small").owner.mounter);
  if (xattrs) {
    EXPECT_EQ(host_.catalogue->GetXattr(At("small").ino, "user.test").value(), "value");
  }
  // Again: nothing changes, and nothing of the folder changed.
  EXPECT_EQ(Run(GetParam()).value().files, 0U);
  EXPECT_EQ(Names().size(), 5U);
  struct stat st {};
  ASSERT_EQ(::stat((from_ / "folder/large").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600U);
  EXPECT_EQ(st.st_nlink, GetParam() == ImportMode::kLink ? 3U : 2U);
  EXPECT_TRUE(host_.WorkNames().empty());
}

TEST_P(ImportModes, AnImportedFileIsEditedAndTheFolderIsNot) {
  WriteFile(from_ / "f", Bytes(kLarge));
  ASSERT_TRUE(Run(GetParam()));
  const auto ino = At("f").ino;
  const auto opened = host_.MustOpen(ino, O_RDWR);
  host_.Write(opened.handle, "edited");
  host_.Close(opened.handle);
  ASSERT_TRUE(host_.Quiet());
  EXPECT_TRUE(Same(BytesAt("f"), "edited" + Bytes(kLarge).substr(6)));
  EXPECT_TRUE(Same(ReadFile(from_ / "f"), Bytes(kLarge)));
}

TEST_P(ImportModes, OtherContentsUnderANameStandBesideIt) {
  host_.File("f.txt", "the cluster's");
  host_.File("same", "same");
  host_.File("large", Bytes(kLarge, 2));
  host_.File("folder here", "a file");
  WriteFile(from_ / "f.txt", "the folder's");
  WriteFile(from_ / "same", "same");
  WriteFile(from_ / "large", Bytes(kLarge, 3));
  std::filesystem::create_directory(from_ / "folder here");
  WriteFile(from_ / "folder here/inside", "inside");
  ASSERT_TRUE(Run(GetParam()));
  EXPECT_TRUE(Same(BytesAt("f.txt"), "the cluster's"));
  EXPECT_TRUE(Same(BytesAt("large"), Bytes(kLarge, 2)));
  const auto names = Names();
  EXPECT_EQ(names.size(), 7U);
  std::set<std::string> contents;
  for (const auto& name : names) {
    if (name.find("(conflict a ") == std::string::npos) continue;
    if (At(name).kind == index::Kind::kFolder) {
      EXPECT_EQ(Names(At(name).ino), (std::set<std::string>{"inside"}));
    } else {
      contents.insert(BytesAt(name));
    }
  }
  EXPECT_TRUE(contents == (std::set<std::string>{"the folder's", Bytes(kLarge, 3)}));
  ASSERT_TRUE(Run(GetParam()));
  EXPECT_EQ(Names(), names) << "again makes no more of them";
}

TEST_P(ImportModes, EqualSizeAndTimeDoNotMakeOneFile) {
  host_.File("f", "the cluster's");
  WriteFile(from_ / "f", "this folder's");
  const timespec mtime{At("f").mtime_ns / 1'000'000'000, At("f").mtime_ns % 1'000'000'000};
  const timespec times[2] = {mtime, mtime};
  ASSERT_EQ(0, utimensat(AT_FDCWD, (from_ / "f").c_str(), times, 0));
  ASSERT_TRUE(Run(GetParam()));
  EXPECT_EQ(Names().size(), 2U) << "the folder's stands beside the cluster's";
}

TEST_P(ImportModes, GoesOnWhereItWasInterrupted) {
  constexpr int kFiles = 700;
  for (int i = 0; i < kFiles; ++i) {
    WriteFile(from_ / std::to_string(i),
              i % 50 == 0 ? Bytes(kMiddle, static_cast<unsigned>(i)) : std::to_string(i));
  }
  EXPECT_EQ(Run(GetParam(), 400).error(), Error::kCancelled);
  const auto some = Names().size();
  EXPECT_GT(some, 100U);
  EXPECT_LT(some, 600U);
  EXPECT_TRUE(host_.WorkNames().empty());
  const auto rest = Run(GetParam());
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest.value().files, kFiles - some);
  EXPECT_EQ(Names().size(), static_cast<std::size_t>(kFiles));
  EXPECT_TRUE(Same(BytesAt("650"), Bytes(kMiddle, 650)));
  EXPECT_EQ(BytesAt("651"), "651");
}

TEST_F(ImportTest, HolesStay) {
  const auto path = from_ / "sparse";
  WriteFile(path, "begin");
  ASSERT_EQ(::truncate(path.c_str(), std::int64_t{1} << 30U), 0);
  ASSERT_TRUE(Run());
  struct stat st {};
  ASSERT_EQ(::stat(host_.store->ObjectPath(At("sparse").content.id).c_str(), &st), 0);
  EXPECT_EQ(st.st_size, std::int64_t{1} << 30U);
  EXPECT_LT(st.st_blocks * 512, 1 << 20);
}

TEST_F(ImportTest, WhatCannotBeReadIsNamedAndTheRestIsTakenIn) {
  WriteFile(from_ / "closed", "closed");
  WriteFile(from_ / "open", "open");
  ASSERT_EQ(::chmod((from_ / "closed").c_str(), 0), 0);
  ASSERT_EQ(::chmod((from_ / "open").c_str(), 0644), 0);
  ASSERT_EQ(::chmod(from_.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0755), 0);
  // Root reads everything; this thread does not, for a moment.
  const auto user = ::setfsuid(65534);
  const auto imported = Run();
  ::setfsuid(static_cast<uid_t>(user));
  ASSERT_TRUE(imported) << imported.error().message();
  EXPECT_EQ(imported.value().files, 1U);
  ASSERT_EQ(imported.value().failed, 1U);
  EXPECT_EQ(imported.value().failures.at(0).path, "closed");
  EXPECT_EQ(imported.value().failures.at(0).why, Errno(EACCES));
  EXPECT_EQ(Names(), (std::set<std::string>{"open"}));
}

TEST_F(ImportTest, TwoNamesWithOneContentShareItsObject) {
  WriteFile(from_ / "one", Bytes(kMiddle));
  WriteFile(from_ / "two", Bytes(kMiddle));
  host_.File("three", Bytes(kMiddle));
  ASSERT_TRUE(Run());
  EXPECT_NE(At("one").ino, At("two").ino);
  EXPECT_EQ(At("one").content.id, At("three").content.id);
  EXPECT_EQ(host_.catalogue->Users(At("one").content.id, std::nullopt).value(), 3U);
  EXPECT_TRUE(Same(BytesAt("two"), Bytes(kMiddle)));
}

}  // namespace
}  // namespace btfc::fs
