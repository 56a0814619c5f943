// The database is damaged while it is in use: what is asked of the damaged part is refused, nothing
// wrong is told, and what was answered meanwhile is there.
#include "index/damage.h"

#include <sqlite3.h>

#include <fstream>

#include "catalogue_fixture.h"

namespace btfc::index {
namespace {

constexpr std::size_t kPage = 4096;
constexpr int kFiles = 300;

std::string NameOf(int i) { return "file" + std::to_string(i); }
std::string BytesOf(int i) {
  return std::string(static_cast<std::size_t>(i) * 7 % 6000, 'x') + NameOf(i);
}

CatalogueOptions OptionsFor(const std::filesystem::path& file) {
  CatalogueOptions options;
  options.path = file;
  options.node_key.fill(1);
  options.cluster.fill(7);
  options.host_name = "a";
  return options;
}

void MakeOne(const std::filesystem::path& file) {
  auto catalogue = Catalogue::Open(OptionsFor(file)).value();
  for (int i = 0; i < kFiles; ++i) {
    const auto node = catalogue->Make(kRootIno, NameOf(i), FileNode()).value();
    ASSERT_TRUE(catalogue->Commit(node.ino, VersionOf(BytesOf(i)), false));
  }
}

std::string PageOf(const std::filesystem::path& file, std::size_t page) {
  std::string bytes(kPage, '\0');
  std::ifstream(file, std::ios::binary)
      .seekg(static_cast<std::streamoff>(page * kPage))
      .read(bytes.data(), kPage);
  return bytes;
}

void PutPage(const std::filesystem::path& file, std::size_t page, const std::string& bytes) {
  std::fstream(file, std::ios::binary | std::ios::in | std::ios::out)
      .seekp(static_cast<std::streamoff>(page * kPage))
      .write(bytes.data(), kPage);
}

// Reads everything. What answers is right; answers how many did not.
int Walk(Catalogue& catalogue, const std::map<std::string, std::string>& files) {
  int failed = 0;
  for (const auto& [name, bytes] : files) {
    const auto node = catalogue.Lookup(kRootIno, name);
    const auto got =
        node ? catalogue.InlineBytes(node.value().ino) : Result<std::string>(node.error());
    if (got) {
      EXPECT_EQ(got.value(), bytes) << name;
    } else {
      EXPECT_EQ(ToErrno(got.error()), EIO) << name;
      ++failed;
    }
  }
  return failed;
}

// `garbage` stands for the page while the catalogue is in use.
void Damage(const std::filesystem::path& original, std::size_t page, const std::string& garbage,
            int* refused) {
  const TempDir folder;
  const auto file = folder / "index.db";
  std::filesystem::copy_file(original, file);
  const std::string healthy = PageOf(file, page);
  std::map<std::string, std::string> files;
  for (int i = 0; i < kFiles; ++i) files[NameOf(i)] = BytesOf(i);
  PutPage(file, page, garbage);
  if (auto opened = Catalogue::Open(OptionsFor(file))) {
    const auto catalogue = std::move(opened.value());
    const int failed = Walk(*catalogue, files);
    if (failed > 0) {
      EXPECT_TRUE(DamageOf(file));
    }
    *refused += failed;
    for (int i = 0; i < 20; ++i) {
      const auto name = "new" + std::to_string(i);
      const auto made = catalogue->Make(kRootIno, name, FileNode());
      if (!made) {
        EXPECT_EQ(ToErrno(made.error()), EIO);
        continue;
      }
      if (catalogue->Commit(made.value().ino, VersionOf(name), false)) files[name] = name;
    }
  } else {
    EXPECT_EQ(opened.error(), Error::kCorrupt) << opened.error().message();
  }
  if (PageOf(file, page) != garbage) return;  // it was written anew
  PutPage(file, page, healthy);
  auto again = Catalogue::Open(OptionsFor(file));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(Walk(*again.value(), files), 0);
  EXPECT_TRUE(again.value()->CheckIntegrity());
}

TEST(Damage, APageThatIsNone) {
  const TempDir folder;
  const auto file = folder / "index.db";
  ASSERT_NO_FATAL_FAILURE(MakeOne(file));
  const std::size_t pages = std::filesystem::file_size(file) / kPage;
  ASSERT_GT(pages, 40U);
  int refused = 0;
  for (std::size_t page = 1; page < pages; page += pages / 30) {
    SCOPED_TRACE("page " + std::to_string(page) + " of " + std::to_string(pages));
    ASSERT_NO_FATAL_FAILURE(Damage(file, page, std::string(kPage, '\xff'), &refused));
  }
  EXPECT_GT(refused, 0);
}

// A page of the bytes of small files that is well formed, with other bytes in it.
TEST(Damage, BytesOfASmallFile) {
  const TempDir folder;
  const auto file = folder / "index.db";
  ASSERT_NO_FATAL_FAILURE(MakeOne(file));
  const std::size_t pages = std::filesystem::file_size(file) / kPage;
  int refused = 0;
  for (std::size_t page = 1; page < pages && refused == 0; ++page) {
    std::string bytes = PageOf(file, page);
    const auto at = bytes.find(std::string(500, 'x'));
    if (at == std::string::npos) continue;
    bytes[at + 250] = 'y';
    ASSERT_NO_FATAL_FAILURE(Damage(file, page, bytes, &refused));
  }
  EXPECT_EQ(refused, 1);
}

// Others would keep what they are told for ever.
TEST(DamageTest, ADamagedSmallFileIsNamedAndNotSent) {
  const TempDir folder;
  const auto file = folder / "index.db";
  MakeOne(file);
  sqlite3* database = nullptr;
  ASSERT_EQ(SQLITE_OK, sqlite3_open(file.c_str(), &database));
  EXPECT_EQ(SQLITE_OK, sqlite3_exec(database,
                                    "UPDATE version SET inline = "
                                    "CAST(replace(CAST(inline AS TEXT), 'file7', 'fileX') AS BLOB) "
                                    "WHERE size = 54",
                                    nullptr, nullptr, nullptr));
  EXPECT_EQ(1, sqlite3_changes(database));
  sqlite3_close(database);
  const auto catalogue = Catalogue::Open(OptionsFor(file)).value();
  EXPECT_FALSE(DamageOf(file));
  const auto reader = catalogue->Cut({}).value();
  Result<std::optional<std::string>> part = reader->Next();
  while (part && part.value()) part = reader->Next();
  EXPECT_EQ(make_error_code(Error::kCorrupt), part.error());
  EXPECT_TRUE(DamageOf(file));
}

}  // namespace
}  // namespace btfc::index
