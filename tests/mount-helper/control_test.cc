#include "mount-helper/control.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

namespace btfc::mount_helper {
namespace {

using nlohmann::json;

class ControlTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "control-XXXXXX";
    // Longer than a socket's address may be.
    cache_ = std::filesystem::path(mkdtemp(pattern.data())) / std::string(150, 'x');
    std::filesystem::create_directory(cache_);
  }
  void TearDown() override { std::filesystem::remove_all(cache_.parent_path()); }

  Result<json> Ask(const json& request) {
    return AskDaemon(cache_, request, std::chrono::seconds(30));
  }

  std::filesystem::path cache_;
};

TEST_F(ControlTest, AnswersWhatTheHandlerSays) {
  auto server = ControlServer::Start(cache_, [](const json& asked) {
    return json{{"got", asked}};
  });
  ASSERT_TRUE(server);
  const auto answer = Ask({{"command", std::string(300'000, 'y')}});
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(300'000U, answer.value()["got"]["command"].get<std::string>().size());
  struct stat status {};
  ASSERT_EQ(0, stat((cache_ / "control.sock").c_str(), &status));
  EXPECT_EQ(0600U, status.st_mode & 0777U);
}

TEST_F(ControlTest, ARequestThatLacksSomethingGetsAnError) {
  auto server = ControlServer::Start(
      cache_, [](const json& asked) { return json(asked.at("command").get<std::string>()); });
  ASSERT_TRUE(server);
  const auto answer = Ask(json::object());
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer.value().contains("error"));
  EXPECT_TRUE(Ask({{"command", "still there"}}));
}

TEST_F(ControlTest, NoDaemon) {
  EXPECT_EQ(ENOENT, ToErrno(Ask({}).error()));
  {
    auto server = ControlServer::Start(cache_, [](const json&) { return json(); });
    ASSERT_TRUE(server);
  }
  EXPECT_EQ(ENOENT, ToErrno(Ask({}).error())) << "the socket is left";
}

}  // namespace
}  // namespace btfc::mount_helper
