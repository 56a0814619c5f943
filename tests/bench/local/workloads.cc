#include "local/workloads.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <stdexcept>
#include <thread>

#include "process.h"

namespace btfc::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Path = std::filesystem::path;

constexpr std::size_t kMiB = std::size_t{1} << 20U;
constexpr std::size_t kPage = 4096;

void Need(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what + ": " + std::strerror(errno));
}

double Timed(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

void Run(const std::string& line) {
  const auto ended = cluster::Shell(line);
  if (!ended.ok()) throw std::runtime_error(line + ": " + ended.output.substr(0, 500));
}

int Scaled(double count, const Scale& scale) {
  return std::max(1, static_cast<int>(count * scale.size));
}

std::string RandomBytes(std::size_t size, unsigned seed) {
  std::mt19937_64 random(seed);
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, 8);
  }
  return bytes;
}

class File {
 public:
  File(const Path& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {
    Need(fd_ >= 0, path.native());
  }
  ~File() { ::close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return fd_; }
  void Write(const std::string& bytes, std::size_t at) const {
    Need(::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at)) ==
             static_cast<ssize_t>(bytes.size()),
         "write");
  }
  void Read(std::string& into, std::size_t at) const {
    Need(::pread(fd_, into.data(), into.size(), static_cast<off_t>(at)) ==
             static_cast<ssize_t>(into.size()),
         "read");
  }

 private:
  const int fd_;
};

// The page cache is one for all places. Dirty pages were written by Settle.
void EmptyPageCache() { std::ofstream("/proc/sys/vm/drop_caches") << "1" << std::flush; }

void WriteWhole(const Path& path, int blocks, const std::string& block) {
  const File file(path, O_WRONLY | O_CREAT | O_TRUNC);
  for (int i = 0; i < blocks; ++i) file.Write(block, static_cast<std::size_t>(i) * block.size());
  Need(::fsync(file.get()) == 0, "fsync");
}

void ReadWhole(const Path& path, int blocks) {
  const File file(path, O_RDONLY);
  std::string into(kMiB, '\0');
  for (int i = 0; i < blocks; ++i) file.Read(into, static_cast<std::size_t>(i) * kMiB);
}

// --- groups

std::vector<Figure> Bulk(Side& side, const Scale& scale) {
  const int blocks = Scaled(1024, scale);
  const Path path = side.folder() / "bulk";
  const auto block = RandomBytes(kMiB, 1);
  std::vector<Figure> figures;
  const auto add = [&](const std::string& name, const std::function<void()>& work) {
    figures.push_back({name, Timed(work), static_cast<double>(blocks), "MiB"});
  };
  add("sequential write + fsync", [&] { WriteWhole(path, blocks, block); });
  side.Settle();
  if (scale.cold) {
    EmptyPageCache();
    add("sequential read, cold", [&] { ReadWhole(path, blocks); });
  }
  // The second time the kernel moves each page to its list of active ones: the third is what stays.
  ReadWhole(path, blocks);
  ReadWhole(path, blocks);
  add("sequential read, hot", [&] { ReadWhole(path, blocks); });
  ::unlink(path.c_str());
  return figures;
}

std::vector<Figure> Random(Side& side, const Scale& scale) {
  const int blocks = Scaled(256, scale);
  const std::size_t pages = static_cast<std::size_t>(blocks) * kMiB / kPage;
  const Path path = side.folder() / "random";
  WriteWhole(path, blocks, RandomBytes(kMiB, 1));
  side.Settle();
  std::vector<Figure> figures;
  const auto reads = [&](const std::string& name, int count) {
    std::mt19937_64 random(7);
    std::string into(kPage, '\0');
    const File file(path, O_RDONLY);
    const double seconds = Timed([&] {
      for (int i = 0; i < count; ++i) file.Read(into, random() % pages * kPage);
    });
    figures.push_back({name, seconds, static_cast<double>(count), "op"});
  };
  if (scale.cold) {
    EmptyPageCache();
    reads("4 KiB random reads, cold", Scaled(4000, scale));
  }
  ReadWhole(path, blocks);
  reads("4 KiB random reads, hot", Scaled(200000, scale));
  const int count = Scaled(50000, scale);
  {
    std::mt19937_64 random(8);
    const auto page = RandomBytes(kPage, 2);
    const File file(path, O_RDWR);
    const double seconds = Timed([&] {
      for (int i = 0; i < count; ++i) file.Write(page, random() % pages * kPage);
    });
    figures.push_back({"4 KiB random writes", seconds, static_cast<double>(count), "op"});
  }
  side.Settle();
  ::unlink(path.c_str());
  return figures;
}

std::vector<Figure> Small(Side& side, const Scale& scale) {
  const int count = Scaled(4000, scale);
  const Path folder = side.folder() / "small";
  Need(::mkdir(folder.c_str(), 0755) == 0, "mkdir");
  const auto bytes = RandomBytes(kPage, 3);
  const auto path = [&](const char* name, int i) {
    return folder.native() + "/" + name + std::to_string(i);
  };
  std::vector<Figure> figures;
  const auto each = [&](const std::string& name, const std::function<void(int)>& step) {
    const double seconds = Timed([&] {
      for (int i = 0; i < count; ++i) step(i);
    });
    figures.push_back({name, seconds, static_cast<double>(count), "op"});
  };
  const auto read = [&](int i) {
    std::string into(kPage, '\0');
    File(path("f", i), O_RDONLY).Read(into, 0);
  };
  const auto stat = [&](int i) {
    struct stat status {};
    Need(::stat(path("f", i).c_str(), &status) == 0, "stat");
  };
  const auto missing = [&](int i) {
    struct stat status {};
    Need(::stat(path("none", i).c_str(), &status) != 0, "a missing file");
  };
  each("create + write 4 KiB + close",
       [&](int i) { File(path("f", i), O_WRONLY | O_CREAT | O_EXCL).Write(bytes, 0); });
  each("stat, just made", stat);
  side.Refresh();
  each("stat, first use", stat);
  each("open + read + close", read);
  each("open + read + close, again", read);
  side.Refresh();
  each("missing name, first use", missing);
  each("missing name, again", missing);
  each("rename",
       [&](int i) { Need(::rename(path("f", i).c_str(), path("g", i).c_str()) == 0, "rename"); });
  each("unlink", [&](int i) { Need(::unlink(path("g", i).c_str()) == 0, "unlink"); });
  each("save: write new + rename over", [&](int i) {
    File(path("t", 0), O_WRONLY | O_CREAT | O_EXCL).Write(bytes, 0);
    Need(::rename(path("t", 0).c_str(), path("s", i % 16).c_str()) == 0, "rename");
  });
  each("append 100 bytes + close", [&](int) {
    const File file(path("log", 0), O_WRONLY | O_CREAT | O_APPEND);
    Need(::write(file.get(), bytes.data(), 100) == 100, "write");
  });
  side.Settle();
  std::filesystem::remove_all(folder);
  return figures;
}

// 8,000 files in 400 folders, most of them small, as in source trees.
Path MakeTree(const Path& scratch, const Scale& scale) {
  Path archive = scratch / "tree.tar";
  if (std::filesystem::exists(archive)) return archive;
  const Path tree = scratch / "tree";
  std::mt19937 random(4);
  const std::string text = RandomBytes(kPage, 5);
  for (int i = 0, count = Scaled(8000, scale); i < count; ++i) {
    const Path folder = tree / fmt::format("d{}", i % 20) / fmt::format("e{}", i / 20 % 20);
    if (i < 400) std::filesystem::create_directories(folder);
    const std::size_t size = i % 50 == 0 ? 100'000 : 200 + random() % 8000;
    std::ofstream file(folder / fmt::format("file{}.txt", i), std::ios::binary);
    for (std::size_t left = size; left > 0;) {
      const auto part = std::min(left, text.size());
      file.write(text.data(), static_cast<std::streamsize>(part));
      left -= part;
    }
  }
  Run(fmt::format("tar -C '{}' -cf '{}' tree && rm -rf '{}'", scratch.native(), archive.native(),
                  tree.native()));
  return archive;
}

std::vector<Figure> Tree(Side& side, const Scale& scale) {
  const Path archive = MakeTree(side.folder().parent_path(), scale);
  const std::string at = side.folder().native();
  const double files = Scaled(8000, scale);
  std::vector<Figure> figures;
  const auto add = [&](const std::string& name, const std::string& line) {
    figures.push_back({name, Timed([&] { Run(line); }), files, "file"});
  };
  add("unpack a tree", fmt::format("tar -C '{}' -xf '{}'", at, archive.native()));
  add("grep -r, after unpacking", fmt::format("! grep -r 'not there at all' '{}/tree'", at));
  side.Refresh();
  add("find, first use", fmt::format("find '{}/tree' -type f -size +0 > /dev/null", at));
  add("find, again", fmt::format("find '{}/tree' -type f -size +0 > /dev/null", at));
  side.Refresh();
  add("grep -r, first use", fmt::format("! grep -r 'not there at all' '{}/tree'", at));
  side.Refresh();
  add("rm -rf, first use", fmt::format("rm -rf '{}/tree'", at));
  side.Settle();
  return figures;
}

std::vector<Figure> Git(Side& side, const Scale& scale) {
  const Path repository = side.folder() / "repository";
  const int count = Scaled(20000, scale);
  for (int i = 0; i < count; ++i) {
    const Path folder = repository / std::to_string(i % 100) / std::to_string(i / 100 % 10);
    if (i < 1000) std::filesystem::create_directories(folder);
    std::ofstream(folder / fmt::format("source{}.cc", i)) << "int number = " << i << ";\n";
  }
  const auto git =
      fmt::format("git -C '{}' -c user.name=n -c user.email=e -c gc.auto=0 -c maintenance.auto=0 ",
                  repository.native());
  Run(fmt::format("{} init -q && {} add . && {} commit -qm start", git, git, git));
  side.Settle();
  const auto status = git + "status --porcelain";
  std::vector<Figure> figures;
  side.Refresh();
  figures.push_back(
      {"git status, first use", Timed([&] { Run(status); }), static_cast<double>(count), "file"});
  double best = 1e9;
  for (int i = 0; i < 5; ++i) best = std::min(best, Timed([&] { Run(status); }));
  figures.push_back({"git status, warm", best, static_cast<double>(count), "file"});
  Run(fmt::format("rm -rf '{}'", repository.native()));
  side.Settle();
  return figures;
}

void MakeMany(const Path& folder, int count) {
  std::filesystem::create_directories(folder);
  for (int i = 0; i < count; ++i) {
    const int fd = ::open((folder / fmt::format("entry{:06}", i)).c_str(),
                          O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    Need(fd >= 0, "create");
    ::close(fd);
  }
}

std::vector<Figure> Folder(Side& side, const Scale& scale) {
  const Path folder = side.folder() / "folder";
  const int count = Scaled(100000, scale);
  std::vector<Figure> figures;
  const auto add = [&](const std::string& name, const std::function<void()>& work) {
    figures.push_back({name, Timed(work), static_cast<double>(count), "entry"});
  };
  // passthrough_hp runs out of descriptors with that many: it is given the files from behind.
  const Path behind = side.folder().parent_path() / "source" / "folder";
  const bool other = side.name() == "passthrough_hp";
  MakeMany(other ? behind : folder, count);
  const auto list = [&] {
    DIR* open = ::opendir(folder.c_str());
    Need(open != nullptr, "opendir");
    int found = 0;
    while (::readdir(open) != nullptr) ++found;
    ::closedir(open);
    if (found != count + (other ? 0 : 2))
      throw std::runtime_error(fmt::format("readdir shows {}", found));
  };
  side.Refresh();
  add("readdir of 100,000, first use", list);
  add("readdir of 100,000, again", list);
  if (!other) {
    const auto line = fmt::format("ls -l '{}' > /dev/null", folder.native());
    side.Refresh();
    add("ls -l of 100,000, first use", [&] { Run(line); });
    add("ls -l of 100,000, again", [&] { Run(line); });
  }
  Run(fmt::format("rm -rf '{}'", (other ? behind : folder).native()));
  side.Settle();
  return figures;
}

}  // namespace

const std::map<std::string, Group>& Groups() {
  static const std::map<std::string, Group> groups = {{"bulk", Bulk},   {"random", Random},
                                                      {"small", Small}, {"tree", Tree},
                                                      {"git", Git},     {"folder", Folder}};
  return groups;
}

Footprint MeasureFootprint(Side& side, const Scale& scale) {
  Footprint footprint;
  const int count = Scaled(100000, scale);
  for (int i = 0; i < 100; ++i) {
    MakeMany(side.folder() / "many" / std::to_string(i), count / 100);
  }
  footprint.files = count;
  side.Settle();
  Run(fmt::format("ls -lR '{}' > /dev/null", side.folder().native()));
  footprint.resident_mib = ResidentMiB(side.daemon());
  const double before = CpuSeconds(side.daemon());
  const double seconds = Timed([] { std::this_thread::sleep_for(std::chrono::seconds(10)); });
  footprint.idle_cpu_percent = 100 * (CpuSeconds(side.daemon()) - before) / seconds;
  return footprint;
}

}  // namespace btfc::bench
