#include "index/result.h"

#include <cerrno>
#include <string>

namespace btfc {
namespace {

class Category final : public std::error_category {
 public:
  const char* name() const noexcept override { return "btfc"; }
  std::string message(int value) const override {
    switch (static_cast<Error>(value)) {
      case Error::kCorrupt:
        return "corrupt data";
      case Error::kTooNew:
        return "written by a newer version of btfc";
      case Error::kOtherCluster:
        return "belongs to another cluster";
      case Error::kNotCovered:
        return "the delta starts after what this host knows";
      case Error::kStorage:
        return "the database or its disk failed";
      case Error::kCancelled:
        return "cancelled";
      case Error::kUnavailable:
        return "no reachable host has it";
    }
    return "unknown error";
  }
};

const Category kCategory;

int ErrnoOf(Error error) noexcept {
  switch (error) {
    case Error::kCancelled:
      return EINTR;
    case Error::kTooNew:
    case Error::kOtherCluster:
      return EINVAL;
    case Error::kCorrupt:
    case Error::kNotCovered:
    case Error::kStorage:
    case Error::kUnavailable:
      return EIO;
  }
  return EIO;
}

}  // namespace

std::error_code make_error_code(Error error) noexcept {
  return {static_cast<int>(error), kCategory};
}

int ToErrno(const std::error_code& code) noexcept {
  if (code.category() == kCategory) return ErrnoOf(static_cast<Error>(code.value()));
  if (code.category() == std::generic_category() || code.category() == std::system_category()) {
    return code.value();
  }
  return EIO;
}

}  // namespace btfc
