// The bytes of a file that is imported, made safe.
#pragma once

#include <filesystem>
#include <functional>

#include "fs/import.h"
#include "fs/import_source.h"
#include "fs/object_store.h"
#include "index/catalogue.h"

namespace btfc::fs {

struct ReadFileContent {
  index::NewVersion version;
  // The bytes, in a file in the making of the store's; empty: they are inline. The caller removes
  // it.
  std::filesystem::path file;
};

// Reads and hashes a file. `number`: of the file in the making. EAGAIN if somebody writes to it.
Result<ReadFileContent> ReadContent(const FoundFile& found, const ObjectStore& store,
                                    ImportMode mode, std::uint64_t number,
                                    const std::function<bool()>& cancelled);

}  // namespace btfc::fs
