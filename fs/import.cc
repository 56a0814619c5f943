#include "fs/import.h"

#include <cerrno>

namespace btfc::fs {

// Until the walk is here, an import says so and changes nothing.
Result<ImportProgress> Import(int, index::Catalogue&, ObjectStore&, const ImportOptions&,
                              const std::function<void(const ImportProgress&)>&,
                              const std::function<bool()>&,
                              const std::function<void(const std::vector<index::Change>&)>&) {
  return Errno(ENOTSUP);
}

}  // namespace btfc::fs
