#include "mount-helper/control.h"

#include <nlohmann/json.hpp>
#include <string>

#include "targets.h"

namespace btfc::fuzz {

// Every request gets one JSON object as its answer.
void Control(std::string_view bytes) {
  const auto handler = [](const nlohmann::json& asked) -> nlohmann::json {
    const auto command = asked.at("command").get<std::string>();
    if (command != "log") return {{"error", "no command " + command}};
    return {{"versions", {{"path", asked.at("path").get<std::string>()}}}};
  };
  const std::string answer = mount_helper::AnswerText(handler, std::string(bytes));
  const auto parsed = nlohmann::json::parse(answer, nullptr, /*allow_exceptions=*/false);
  BTFC_FUZZ_CHECK(parsed.is_object());
}

}  // namespace btfc::fuzz
