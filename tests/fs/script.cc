#include "script.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>

namespace btfc::fs::test {
namespace {

std::string Printable(const std::string& bytes) {
  if (bytes.size() > 200) {
    return fmt::format("{} bytes, hash {}", bytes.size(), std::hash<std::string>{}(bytes));
  }
  std::string text;
  for (const char c : bytes) {
    text += std::isprint(static_cast<unsigned char>(c)) != 0
                ? std::string(1, c)
                : fmt::format("\\{:02x}", static_cast<unsigned char>(c));
  }
  return text;
}

std::vector<std::string> XattrNames(const std::string& path) {
  std::string list(65536, '\0');
  const ssize_t size = ::llistxattr(path.c_str(), list.data(), list.size());
  std::vector<std::string> names;
  if (size <= 0) return names;
  list.resize(static_cast<std::size_t>(size));
  std::istringstream stream(list);
  for (std::string name; std::getline(stream, name, '\0');) names.push_back(name);
  std::ranges::sort(names);
  return names;
}

}  // namespace

long Script::Note(const std::string& what, long result) {
  const int problem = errno;
  Say(fmt::format("{} = {}", what,
                  result < 0 ? std::string(::strerrorname_np(problem)) : std::to_string(result)));
  return result;
}

int Script::Open(const std::string& path, int flags, mode_t mode) {
  const int fd = ::open(path.c_str(), flags, mode);
  const int problem = errno;
  Say(fmt::format("open {} {:#o} = {}", path, flags, fd < 0 ? ::strerrorname_np(problem) : "ok"));
  return fd;
}

void Script::Close(int fd) {
  if (fd >= 0) Note("close", ::close(fd));
}

void Script::Put(const std::string& path, const std::string& bytes, mode_t mode) {
  const int fd = Open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  if (fd < 0) return;
  Note("write", ::write(fd, bytes.data(), bytes.size()));
  Close(fd);
}

void Script::Stat(const std::string& path) {
  struct stat st {};
  if (Note("lstat " + path, ::lstat(path.c_str(), &st)) < 0) return;
  Say(fmt::format("  {:o} links {} owner {}:{} size {} rdev {}", st.st_mode, st.st_nlink, st.st_uid,
                  st.st_gid, S_ISDIR(st.st_mode) ? 0 : st.st_size,
                  S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ? st.st_rdev : 0));
}

void Script::Content(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY);
  if (fd < 0) {
    Note("read " + path, fd);
    return;
  }
  std::string bytes;
  std::string part(65536, '\0');
  ssize_t got = 0;
  while ((got = ::read(fd, part.data(), part.size())) > 0) {
    bytes.append(part.data(), static_cast<std::size_t>(got));
  }
  if (got < 0) Note("read " + path, got);
  ::close(fd);
  Say("  content: " + Printable(bytes));
}

void Script::Xattr(const std::string& path, const std::string& name) {
  std::string value(65536, '\0');
  const ssize_t size = ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size());
  Note("getxattr " + path + " " + name, size);
  if (size >= 0) Say("  " + Printable(value.substr(0, static_cast<std::size_t>(size))));
}

void Script::Tree(const std::string& path) {
  std::vector<std::string> names;
  DIR* folder = ::opendir(path.c_str());
  if (folder == nullptr) {
    Note("opendir " + path, -1);
    return;
  }
  while (const dirent* entry = ::readdir(folder)) names.emplace_back(entry->d_name);
  ::closedir(folder);
  std::ranges::sort(names);
  for (const std::string& name : names) {
    const std::string child = path + "/" + name;
    if (name == "." || name == "..") continue;
    Stat(child);
    struct stat st {};
    if (::lstat(child.c_str(), &st) != 0) continue;
    for (const std::string& xattr : XattrNames(child)) Xattr(child, xattr);
    if (S_ISREG(st.st_mode)) Content(child);
    if (S_ISLNK(st.st_mode)) {
      std::string target(5000, '\0');
      const ssize_t size = ::readlink(child.c_str(), target.data(), target.size());
      Say("  -> " + target.substr(0, static_cast<std::size_t>(std::max<ssize_t>(size, 0))));
    }
    if (S_ISDIR(st.st_mode)) Tree(child);
  }
}

LaterScript::LaterScript(const std::filesystem::path& folder, const Steps& steps, unsigned uid,
                         const std::function<void()>& prepare) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  output_ = ends[0];
  const auto work = [&folder, &steps, output = ends[1]] {
    Script script;
    ::umask(022);
    if (::chdir(folder.c_str()) != 0) script.Note("chdir", -1);
    steps(script);
    std::string out;
    for (const std::string& line : script.lines()) out += line + "\n";
    std::size_t at = 0;
    while (at < out.size()) {
      const ssize_t put = ::write(output, out.data() + at, out.size() - at);
      if (put <= 0) return 1;
      at += static_cast<std::size_t>(put);
    }
    return 0;
  };
  process_.emplace(work, uid, prepare);
  ::close(ends[1]);
}

LaterScript::~LaterScript() {
  if (output_ >= 0) ::close(output_);
}

std::vector<std::string> LaterScript::Run() {
  if (!process_) return {"no pipe"};
  process_->Tell();
  std::string text;
  std::string part(65536, '\0');
  ssize_t got = 0;
  while ((got = ::read(output_, part.data(), part.size())) > 0) {
    text.append(part.data(), static_cast<std::size_t>(got));
  }
  const int status = process_->Wait();
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  if (status != 0) lines.push_back(fmt::format("the script ended with {}", status));
  return lines;
}

}  // namespace btfc::fs::test
