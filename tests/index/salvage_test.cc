// What is read of databases that are damaged.
#include "index/salvage.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "index/merkle.h"
#include "tests/support/temp_dir.h"

namespace btfc::index {
namespace {

constexpr int kFiles = 2000;
constexpr std::size_t kPage = 4096;

std::string TextOf(int i) { return "content of file " + std::to_string(i); }

class SalvageTest : public testing::Test {
 protected:
  void SetUp() override {
    CatalogueOptions options;
    options.path = file_;
    options.host_name = "a";
    auto opened = Catalogue::Open(options);
    ASSERT_TRUE(opened);
    auto& catalogue = *opened.value();
    NewNode folder;
    folder.kind = Kind::kFolder;
    folder.mode = 0755;
    const auto made = catalogue.Make(kRootIno, "folder", folder);
    ASSERT_TRUE(made);
    Catalogue::Batch batch(catalogue);
    for (int i = 0; i < kFiles; ++i) {
      NewNode node;
      node.mode = 0640;
      const auto child = catalogue.Make(made.value().ino, "f" + std::to_string(i), node);
      ASSERT_TRUE(child);
      NewVersion version;
      version.inline_bytes = TextOf(i);
      version.id = ContentIdOf(version.inline_bytes);
      version.mtime_ns = 7;
      ASSERT_TRUE(catalogue.Commit(child.value().ino, version, false));
    }
    ASSERT_TRUE(batch.Finish());
    NewNode link;
    link.kind = Kind::kSymlink;
    link.target = "folder/f1";
    ASSERT_TRUE(catalogue.Make(kRootIno, "link", link));
  }
  std::map<std::string, SalvagedFile> Read() {
    std::map<std::string, SalvagedFile> found;
    const auto read = Salvage(file_, [&](const SalvagedFile& file) { found[file.path] = file; });
    EXPECT_TRUE(read);
    return found;
  }
  std::string Bytes() const {
    std::ifstream in(file_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void Put(const std::string& bytes) {
    std::ofstream(file_, std::ios::binary | std::ios::trunc) << bytes;
  }
  // Whatever is handed on is true.
  static void ExpectTrue(const std::map<std::string, SalvagedFile>& found) {
    for (const auto& [path, file] : found) {
      if (file.kind == Kind::kSymlink) {
        EXPECT_EQ("folder/f1", file.target);
      } else if (file.id != ContentId{}) {
        EXPECT_EQ(ContentIdOf(file.inline_bytes), file.id) << path;
        if (path.starts_with("folder/f")) {
          EXPECT_EQ(TextOf(std::stoi(path.substr(8))), file.inline_bytes);
        }
      }
    }
  }

  const test::TempDir dir_;
  const std::filesystem::path file_ = dir_ / "index.db";
};

TEST_F(SalvageTest, AWholeDatabaseIsReadWhole) {
  const auto found = Read();
  EXPECT_EQ(kFiles + 1U, found.size());
  ExpectTrue(found);
  const auto& file = found.at("folder/f7");
  EXPECT_EQ(0640U, file.mode);
  EXPECT_EQ(7, file.mtime_ns);
  ASSERT_TRUE(file.dot);
  EXPECT_GT(file.dot->n, 0U);
}

TEST_F(SalvageTest, TheHeadersFirstBytesAreMended) {
  auto bytes = Bytes();
  bytes.replace(0, 16, std::string(16, 'x'));
  Put(bytes);
  EXPECT_EQ(kFiles + 1U, Read().size());
}

TEST_F(SalvageTest, DamagedPagesAreReadPast) {
  auto bytes = Bytes();
  ASSERT_GT(bytes.size(), 60 * kPage);
  for (std::size_t page = 40; page * kPage < bytes.size(); page += 20) {
    bytes.replace(page * kPage, 200, std::string(200, '\xff'));
  }
  Put(bytes);
  const auto found = Read();
  ExpectTrue(found);
  EXPECT_GT(found.size(), kFiles / 4U);
}

TEST_F(SalvageTest, NothingToBeReadIsSaid) {
  Put(std::string(100'000, 'x'));
  EXPECT_FALSE(Salvage(file_, [](const SalvagedFile&) { ADD_FAILURE(); }));
}

}  // namespace
}  // namespace btfc::index
