// Bit rot, lost objects, emptied folders of the cache.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "lab.h"

namespace btfc::cluster {
namespace {

std::vector<std::filesystem::path> Objects(Host& host) {
  std::vector<std::filesystem::path> objects;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(host.cache() / "objects")) {
    if (entry.is_regular_file()) objects.push_back(entry.path());
  }
  return objects;
}

void Rot(const std::filesystem::path& object) {
  ASSERT_EQ(0, chmod(object.c_str(), 0600));
  const int fd = open(object.c_str(), O_WRONLY);
  ASSERT_EQ(3, pwrite(fd, "rot", 3, 50'000));
  close(fd);
}

Finished Verify(Host& host) {
  return RunProgram({BTFC_PROGRAM, "verify", "--cache", host.cache().native()});
}

TEST(DamageTest, WhatIsDamagedOrMissingComesFromAnotherHost) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  WriteFile(lab[0] / "large", RandomBytes(5 << 20, 1));
  WriteFile(lab[0] / "small", RandomBytes(100'000, 2));
  WriteFile(lab[0] / "missing", RandomBytes(2 << 20, 3));
  ASSERT_TRUE(lab.EventuallyEqual());
  ASSERT_EQ(0, lab[0].Stop());
  for (const auto& object : Objects(lab[0])) {
    if (std::filesystem::file_size(object) == 2 << 20) {
      std::filesystem::remove(object);
    } else {
      ASSERT_NO_FATAL_FAILURE(Rot(object));
    }
  }
  ASSERT_TRUE(lab[0].Start());
  ASSERT_TRUE(Eventually([&] { return lab[0].Connected(); }));
  const auto verified = Verify(lab[0]);
  EXPECT_NE(std::string::npos, verified.output.find("3 damaged or missing")) << verified.output;
  EXPECT_TRUE(lab.EventuallyEqual());
  EXPECT_EQ(RandomBytes(5 << 20, 1), ReadFile(lab[0] / "large"));
  EXPECT_EQ(RandomBytes(100'000, 2), ReadFile(lab[0] / "small"));
  EXPECT_EQ(RandomBytes(2 << 20, 3), ReadFile(lab[0] / "missing"));
  const auto again = Verify(lab[0]);
  EXPECT_EQ(0, again.code);
  EXPECT_NE(std::string::npos, again.output.find("all are whole")) << again.output;
}

TEST(DamageTest, WhatNobodyHasIsNamed) {
  BTFC_NEEDS_LAB();
  Lab lab(1);
  ASSERT_TRUE(lab[0].Start("read_timeout=1"));
  WriteFile(lab[0] / "precious", RandomBytes(300'000, 1));
  ASSERT_TRUE(Eventually([&] { return Objects(lab[0]).size() == 1 && lab[0].Complete(); }));
  ASSERT_NO_FATAL_FAILURE(Rot(Objects(lab[0]).front()));
  const auto verified = Verify(lab[0]);
  EXPECT_EQ(1, verified.code);
  EXPECT_NE(std::string::npos, verified.output.find("/precious")) << verified.output;
  EXPECT_NE(std::string::npos, lab[0].Status()["warnings"].dump().find("/precious"));
  EXPECT_NE(std::string::npos, lab[0].Log().find("the content of /precious is damaged"));
  // Never wrong bytes: an error.
  EXPECT_FALSE(Shell("cat '" + (lab[0] / "precious").native() + "'").ok());
  EXPECT_TRUE(std::filesystem::exists(lab[0] / "precious"));
}

TEST(DamageTest, AnEmptiedCacheDeletesNothingElsewhere) {
  BTFC_NEEDS_LAB();
  Lab lab(2);
  ASSERT_TRUE(lab.StartAll());
  for (unsigned i = 0; i < 20; ++i) {
    WriteFile(lab[0] / ("f" + std::to_string(i)), RandomBytes(i % 2 == 0 ? 500 : 60'000, i));
  }
  ASSERT_TRUE(lab.EventuallyEqual());
  const auto before = Describe(lab[1].mount());
  // The objects alone, then everything but the key.
  for (const std::string victims : {"objects/*", "index.db* objects work partial swarm"}) {
    ASSERT_EQ(0, lab[0].Stop());
    ASSERT_TRUE(Shell("cd '" + lab[0].cache().native() + "' && rm -rf " + victims).ok());
    ASSERT_TRUE(lab[0].Start());
    ASSERT_TRUE(Eventually([&] { return lab[0].Connected(); }));
    (void)Verify(lab[0]);
    EXPECT_TRUE(
        Eventually([&] { return Describe(lab[0].mount()) == before; }, std::chrono::seconds(60)))
        << victims;
    EXPECT_EQ(before, Describe(lab[1].mount())) << victims;
  }
}

TEST(DamageTest, ADamagedIndexIsNamedInTheStatus) {
  BTFC_NEEDS_LAB();
  Lab lab(1);
  ASSERT_TRUE(lab.StartAll());
  const std::string text = "these bytes are in the index";
  WriteFile(lab[0] / "f", text);
  ASSERT_EQ(0, lab[0].Stop());
  const auto index = lab[0].cache() / "index.db";
  std::string bytes = ReadFile(index);
  const auto at = bytes.find(text);
  ASSERT_NE(std::string::npos, at);
  for (auto next = at; next != std::string::npos; next = bytes.find(text, next)) bytes[next] = 'T';
  WriteFile(index, bytes);
  ASSERT_TRUE(lab[0].Start());
  const auto status = [&] {
    return RunProgram({BTFC_PROGRAM, "status", "--json", "--cache", lab[0].cache().native()})
        .output;
  };
  EXPECT_EQ(std::string::npos, status().find("the index is damaged"));
  const int fd = open((lab[0] / "f").c_str(), O_RDONLY);
  char byte = 0;
  EXPECT_FALSE(fd >= 0 && read(fd, &byte, 1) == 1) << "wrong bytes are never read";
  if (fd >= 0) close(fd);
  EXPECT_NE(std::string::npos, status().find("the index is damaged")) << status();
  EXPECT_NE(std::string::npos, status().find("btfc rebuild"));
}

}  // namespace
}  // namespace btfc::cluster
