// Properties of any history: whatever the order, however often and whether at once or again after
// a loss deltas come, 2 to 5 hosts end with the same rows, go quiet, and have a filesystem.
#include <fmt/format.h>
#include <google/protobuf/text_format.h>
#include <rapidcheck.h>

#include <set>

#include "catalogue_fixture.h"
#include "index/delta.h"

namespace btfc::index {
namespace {

// As many as take some seconds; RC_PARAMS="max_success=1000" for more.
const int kCases = setenv("RC_PARAMS", "max_success=40", 0);

constexpr int kNames = 3;
constexpr int kRoundsMax = 8;

struct Step {
  int host, other, what, a, b, c;
};

enum What {
  kCreate,
  kWrite,
  kSave,
  kMkdir,
  kUnlink,
  kMove,
  kLink,
  kChmod,
  kBegin,
  kDeliver,
  kDelay,
  kLate,
  kWhats
};

std::ostream& operator<<(std::ostream& out, const Step& step) {
  return out << fmt::format("{{{}->{} {} {} {} {}}}", step.host, step.other, step.what, step.a,
                            step.b, step.c);
}

rc::Gen<Step> AnyStep(int hosts) {
  return rc::gen::construct<Step>(rc::gen::inRange(0, hosts), rc::gen::inRange(0, hosts),
                                  rc::gen::inRange(0, int{kWhats}), rc::gen::inRange(0, 1000),
                                  rc::gen::inRange(0, 1000), rc::gen::inRange(0, 1000));
}

// One row as text that does not depend on who wrote it down: devices by their ids.
std::string Describe(const google::protobuf::Message& message, const wire::Part& part) {
  std::string text = "{";
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  const auto* reflection = message.GetReflection();
  reflection->ListFields(message, &fields);
  bool has_device = false;
  const auto device = [&](std::uint32_t number) {
    return ToHex(PartReader(part).Device(number)).substr(0, 8);
  };
  for (const auto* field : fields) {
    const bool is_device = (field->name() == "device" || field->name() == "dot_device") &&
                           field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_UINT32;
    has_device = has_device || is_device;
    text += field->name() + ":";
    if (is_device) {
      text += device(reflection->GetUInt32(message, field));
    } else if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      std::string value;
      google::protobuf::TextFormat::PrintFieldValueToString(message, field, -1, &value);
      text += value;
    } else if (field->is_repeated()) {
      for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
        text += Describe(reflection->GetRepeatedMessage(message, field, i), part);
      }
    } else {
      text += Describe(reflection->GetMessage(message, field), part);
    }
    text += ' ';
  }
  // Number 0 is not written; it is a device all the same.
  const auto& name = message.GetDescriptor()->name();
  if (!has_device && (name == "Dot" || name == "Stamp" || name == "Row")) text += device(0);
  return text + "}";
}

std::multiset<std::string> Rows(Host& host) {
  std::multiset<std::string> rows;
  for (const auto& bytes : Cut(host, {})) {
    wire::Part part;
    part.ParseFromString(bytes);
    for (const auto& row : part.rows()) rows.insert(Describe(row, part));
  }
  return rows;
}

class History {
 public:
  explicit History(int hosts) {
    for (int i = 0; i < hosts; ++i) {
      hosts_.push_back(std::make_unique<Host>(static_cast<char>('A' + i), &wall_, i * 7 - 10));
    }
  }

  void Do(const Step& step) {
    wall_ += step.c % 3;
    Host& host = *hosts_[static_cast<std::size_t>(step.host)];
    Host& other = *hosts_[static_cast<std::size_t>(step.other)];
    if (step.what >= kDeliver) return Network(step, host, other);
    Local(step, host);
  }

  void Finish() {
    // Only what was committed travels.
    for (auto& host : hosts_) {
      const auto files = (*host)->DirtyFiles().value();
      for (const auto& file : files) {
        if (!file.orphan) host->Commit(file.ino, fmt::format("{}", ++count_));
      }
    }
    for (int round = 0;; ++round) {
      RC_ASSERT(round < kRoundsMax);
      bool quiet = true;
      for (auto& from : hosts_) {
        for (auto& to : hosts_) {
          const Parts parts = from == to ? Parts() : Cut(*from, (*to)->Known());
          quiet = quiet && parts.empty();
          RC_ASSERT(Give(*to, parts).has_value());
        }
      }
      // Losses are made good late: what was under way comes now, twice.
      if (round == 0) {
        for (int i = 0; i < 2; ++i) {
          for (const auto& [to, parts] : late_) (void)Give(*to, parts);
        }
      } else if (quiet) {
        break;
      }
    }
    const auto rows = Rows(*hosts_.front());
    const auto shown = hosts_.front()->Show();
    for (auto& host : hosts_) {
      RC_ASSERT((*host)->CheckIntegrity().has_value());
      RC_ASSERT((*host)->Known() == (*hosts_.front())->Known());
      RC_ASSERT(Rows(*host) == rows);
      RC_ASSERT(host->Show() == shown);
    }
  }

 private:
  void Network(const Step& step, Host& host, Host& other) {
    if (&host == &other) return;
    if (step.what == kDeliver) {
      RC_ASSERT(Give(other, Cut(host, other->Known())).has_value());
    } else if (step.what == kDelay) {
      late_.emplace_back(&other, Cut(host, step.a % 2 == 0 ? Summary() : other->Known()));
    } else if (!late_.empty()) {
      const auto& [to, parts] = late_[static_cast<std::size_t>(step.a) % late_.size()];
      const auto given = Give(*to, parts);
      const bool refused = !given && given.error() == make_error_code(Error::kNotCovered);
      RC_ASSERT(refused || given.has_value());
      RC_ASSERT((*to)->CheckIntegrity().has_value());
    }
  }

  void Local(const Step& step, Host& host) {
    std::vector<std::string> files, folders = {""};
    for (const auto& [path, what] : host.Show()) (what == "/" ? folders : files).push_back(path);
    const auto any = [](const std::vector<std::string>& from, int n) {
      return from[static_cast<std::size_t>(n) % from.size()];
    };
    const std::string fresh = any(folders, step.a) + "/" + static_cast<char>('a' + step.b % kNames);
    const std::string bytes = fmt::format("{}", ++count_);
    const bool taken = host.Find(fresh) != 0;
    switch (step.what) {
      case kCreate:
        if (taken) return;
        host.Create(fresh, bytes);
        break;
      case kSave: {
        if (taken && host.NodeAt(fresh).kind != Kind::kFile) return;
        const std::string temporary = any(folders, step.c) + "/tmp" + bytes;
        const Ino ino = host.Make(temporary, FileNode());
        host.Rename(temporary, fresh);
        if (step.c % 2 == 0) host.Commit(ino, bytes);
        break;
      }
      case kMkdir:
        if (!taken) host.Mkdir(fresh);
        break;
      case kLink:
        if (!taken && !files.empty()) host.Link(any(files, step.c), fresh);
        break;
      case kWrite:
        if (!files.empty()) host.Write(any(files, step.a), bytes);
        break;
      case kBegin:
        if (!files.empty())
          RC_ASSERT(host->BeginWrite(host.Find(any(files, step.a)), false).has_value());
        break;
      case kChmod:
        if (files.empty()) return;
        RC_ASSERT(host->SetAttributes(host.Find(any(files, step.a)),
                                      ModeChange(static_cast<std::uint32_t>(step.b % 512)))
                      .has_value());
        break;
      case kUnlink:
        Remove(host, step, files, folders);
        break;
      case kMove: {
        std::vector<std::string> all = files;
        all.insert(all.end(), folders.begin() + 1, folders.end());
        if (all.empty()) return;
        // Into itself, over a folder: refused, which is fine too.
        const std::string from = any(all, step.c);
        (void)host->Rename(host.Folder(from), Host::Name(from), host.Folder(fresh),
                           Host::Name(fresh), step.c % 5 == 0 ? unsigned{kExchange} : 0U);
        break;
      }
      default:
        break;
    }
    RC_ASSERT(host->CheckIntegrity().has_value());
  }

  static void Remove(Host& host, const Step& step, const std::vector<std::string>& files,
                     const std::vector<std::string>& folders) {
    if (step.a % 3 > 0 && !files.empty()) {
      host.Unlink(files[static_cast<std::size_t>(step.b) % files.size()]);
    } else if (folders.size() > 1) {
      const auto& folder = folders[1 + static_cast<std::size_t>(step.b) % (folders.size() - 1)];
      (void)host->RemoveFolder(host.Folder(folder), Host::Name(folder));  // ENOTEMPTY is fine
    }
  }

  std::int64_t wall_ = 1'000'000'000'000;
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<std::pair<Host*, Parts>> late_;
  int count_ = 0;
};

TEST(PropertyTest, AnyHistoryConverges) {
  const bool good = rc::check("any history converges", [] {
    const int hosts = *rc::gen::inRange(2, 6);
    const auto steps = *rc::gen::container<std::vector<Step>>(AnyStep(hosts));
    History history(hosts);
    for (const Step& step : steps) history.Do(step);
    history.Finish();
  });
  EXPECT_TRUE(good);
}

// Writes only: every content that was closed last somewhere is somewhere at the end.
TEST(PropertyTest, NoAcknowledgedWriteIsLost) {
  const bool good = rc::check("no acknowledged write is lost", [] {
    const int count = *rc::gen::inRange(2, 5);
    const auto steps = *rc::gen::container<std::vector<Step>>(AnyStep(count));
    std::int64_t wall = 1'000'000'000'000;
    std::vector<std::unique_ptr<Host>> hosts;
    for (int i = 0; i < count; ++i) {
      hosts.push_back(std::make_unique<Host>(static_cast<char>('A' + i), &wall, -i));
    }
    std::set<std::string> written, overwritten;
    int n = 0;
    for (const Step& step : steps) {
      Host& host = *hosts[static_cast<std::size_t>(step.host)];
      Host& other = *hosts[static_cast<std::size_t>(step.other)];
      if (step.what % 2 == 0) {
        if (&host != &other) Send(host, other);
        continue;
      }
      wall += step.c % 2;
      const std::string path = std::string("/") + static_cast<char>('a' + step.a % kNames);
      const std::string bytes = std::to_string(++n);
      if (host.Find(path) == 0) {
        host.Create(path, bytes);
      } else {
        overwritten.insert(host.Bytes(path));
        host.Write(path, bytes);
      }
      written.insert(bytes);
    }
    std::vector<Host*> all;
    for (auto& host : hosts) all.push_back(host.get());
    std::set<std::string> shown;
    for (const auto& [path, bytes] : Exchange(all)) shown.insert(bytes);
    for (const auto& bytes : written)
      RC_ASSERT(overwritten.contains(bytes) || shown.contains(bytes));
  });
  EXPECT_TRUE(good);
}

}  // namespace
}  // namespace btfc::index
