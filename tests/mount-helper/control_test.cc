#include "mount-helper/control.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <nlohmann/json.hpp>

#include "tests/support/temp_dir.h"

namespace btfc::mount_helper {
namespace {

using nlohmann::json;

class ControlTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(cache_); }

  Result<json> Ask(const json& request) {
    return AskDaemon(cache_, request, std::chrono::seconds(30));
  }

  const test::TempDir folder_;
  // Longer than a socket's address may be.
  const std::filesystem::path cache_ = folder_ / std::string(150, 'x');
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
