// What lies in a folder that is imported, as the catalogue wants to know it.
#pragma once

#include <sys/stat.h>

#include <string>
#include <utility>
#include <vector>

#include "fs/fd.h"
#include "fs/owner_map.h"
#include "index/catalogue.h"

namespace btfc::fs {

struct FoundFile {
  std::string name;
  std::string path;  // from the imported folder; set by the importer
  struct stat stat {};
  Fd fd;  // files and folders, O_RDONLY
  index::NewNode node;
  std::vector<std::pair<std::string, std::string>> xattrs;
};

// The names in a folder, without "." and "..", in no order.
Result<std::vector<std::string>> NamesIn(int folder);

// Looks at one name; no symlink is followed, nothing is waited for. `system_xattrs`: security.*
// and trusted.*, too.
Result<FoundFile> LookAt(int folder, const std::string& name, OwnerMap& owners, bool system_xattrs);

}  // namespace btfc::fs
