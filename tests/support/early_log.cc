// For builds with ThreadSanitizer: spdlog makes its default logger at the first use, under a guard
// inside its library, which is not instrumented. Here that is before any thread.
#include <spdlog/spdlog.h>

namespace {
[[maybe_unused]] const auto* const kLogger = spdlog::default_logger_raw();
}
