// Deltas to and from other hosts. To come with delta.proto: until then nothing is exchanged.
#include "index/catalogue.h"

namespace btfc::index {
namespace {

class RefusingWriter : public DeltaWriter {
 public:
  Result<bool> Add(std::string_view) override { return Errno(ENOTSUP); }
  Result<void> Finish() override { return Errno(ENOTSUP); }
};

}  // namespace

Result<std::unique_ptr<DeltaReader>> Catalogue::Cut(const Summary&) { return Errno(ENOTSUP); }
std::unique_ptr<DeltaWriter> Catalogue::Receive() { return std::make_unique<RefusingWriter>(); }

}  // namespace btfc::index
