// libFuzzer's entry to the target that this program was made for.
#include <cstddef>
#include <cstdint>

#include "targets.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  btfc::fuzz::BTFC_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  return 0;
}
