// Replays histories that the model (tests/model) recorded against real catalogues: the same
// operations and deltas must lead to the same trees, conflict names included.
// tests/model/record.py writes the files and describes their lines.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

#include "simulation_host.h"

namespace btfc::index {
namespace {

using Fields = std::vector<std::string>;

Fields Split(const std::string& line) {
  Fields fields(1);
  for (const char c : line) {
    if (c == '\t') {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  return fields;
}

Bytes16 FromHex(const std::string& hex) {
  Bytes16 id{};
  for (std::size_t i = 0; i < id.size(); ++i) {
    id[i] = static_cast<std::uint8_t>(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
  }
  return id;
}

class Replay {
 public:
  Replay(std::filesystem::path file, std::filesystem::path folder)
      : file_(std::move(file)), folder_(std::move(folder)) {}

  void Run() {
    std::ifstream in(file_);
    for (std::string text; std::getline(in, text);) lines_.push_back(Split(text));
    ASSERT_FALSE(lines_.empty());
    while (at_ < lines_.size() && !testing::Test::HasFailure()) {
      SCOPED_TRACE(file_.filename().string() + ":" + std::to_string(at_ + 1));
      const Fields& line = lines_[at_++];
      try {
        if (!Network(line)) Local(line);
      } catch (const std::exception& error) {
        ADD_FAILURE() << error.what();
      }
    }
    EXPECT_TRUE(ended_ || testing::Test::HasFailure()) << "the history has no end";
  }

 private:
  struct Handle {
    std::string host;
    Ino ino = 0;
  };

  bool Network(const Fields& line) {
    const std::string& word = line[0];
    if (word == "host") {
      AddHost(line);
    } else if (word == "cut") {
      const Summary since = line[3] == "-" ? Summary() : At(line[3]).catalogue().Known();
      parcels_[line[1]] = At(line[2]).Cut(since);
    } else if (word == "give") {
      Must(At(line[2]).Give(parcels_.at(line[1])), "take a delta");
      Must(At(line[2]).catalogue().CheckIntegrity(), "check integrity");
    } else if (word == "tree") {
      CompareTree(ReadTree(), At(line[1]));
    } else if (word == "end") {
      const Tree tree = ReadTree();
      for (auto& [name, host] : hosts_) CompareTree(tree, host);
      CompareSummaries();
      ended_ = true;
    } else {
      return false;
    }
    return true;
  }

  void AddHost(const Fields& line) {
    SimulatedHost& host =
        hosts_.emplace(line[1], SimulatedHost(folder_ / (line[1] + ".db"), line[1])).first->second;
    host.SetIncarnation(1);
    host.Open();
    EXPECT_EQ(ToHex(host.catalogue().self()), line[2]);
  }

  void Local(const Fields& line) {
    const std::string& word = line[0];
    SimulatedHost& host = At(line.at(1));
    if (word == "close") {
      Must(host.catalogue().AbandonWrite(handles_.at(line[2]).ino), "close");
      handles_.erase(line[2]);
      return;
    }
    host.SetClock(std::stoll(line.at(2)));
    if (word == "make") {
      host.GiveIds({FromHex(line[4]), FromHex(line[5])});
      host.MakeFile(line[3], line[6]);
    } else if (word == "new") {
      host.GiveIds({FromHex(line[4]), FromHex(line[5])});
      host.Make(line[3]);
    } else if (word == "mkdir") {
      host.GiveIds({FromHex(line[4])});
      host.MakeFolder(line[3]);
    } else if (word == "link") {
      host.GiveIds({FromHex(line[5])});
      host.Link(line[3], line[4]);
    } else if (word == "unlink") {
      Drop(host, host.Unlink(line[3]));
    } else if (word == "rmdir") {
      host.RemoveFolder(line[3]);
    } else if (word == "rename") {
      Drop(host, host.Rename(line[3], line[4]));
    } else if (word == "chmod") {
      host.Chmod(line[3], static_cast<std::uint32_t>(std::stoul(line[4], nullptr, 8)));
    } else if (word == "open") {
      const Handle& handle = handles_[line[3]] = {line[1], host.InoOf(line[4])};
      Must(host.catalogue().BeginWrite(handle.ino, false), "open");
    } else if (word == "commit") {
      host.Commit(handles_.at(line[3]).ino, line[4], line[5] == "1");
      if (line[5] != "1") handles_.erase(line[3]);
    } else {
      FAIL() << "unknown operation " << word;
    }
    EXPECT_EQ(host.IdsLeft(), 0U) << "ids are not asked for as the model does";
  }

  void Drop(const SimulatedHost& host, const std::optional<Ino>& gone) {
    std::erase_if(handles_, [&](const auto& entry) {
      return gone && entry.second.host == host.name() && entry.second.ino == *gone;
    });
  }

  // The entries that follow a "tree" or "end" line.
  Tree ReadTree() {
    Tree tree;
    for (; at_ < lines_.size() && lines_[at_][0].empty(); ++at_) {
      const Fields& line = lines_[at_];
      TreeEntry& entry = tree[line[1]];
      if (line[2] == "d") {
        entry.kind = Kind::kFolder;
        continue;
      }
      entry.mode = static_cast<std::uint32_t>(std::stoul(line[3], nullptr, 8));
      entry.content = line[4];
      entry.unwritten = entry.content.empty();
    }
    return tree;
  }

  void CompareTree(const Tree& want, SimulatedHost& host) {
    const Tree got = host.ReadTree();
    EXPECT_EQ(got, want) << host.name() << " has\n"
                         << ToString(got) << "the model\n"
                         << ToString(want);
  }

  void CompareSummaries() {
    const Summary known = hosts_.begin()->second.catalogue().Known();
    for (auto& [name, host] : hosts_) EXPECT_EQ(host.catalogue().Known(), known) << name;
  }

  SimulatedHost& At(const std::string& name) { return hosts_.at(name); }

  const std::filesystem::path file_, folder_;
  std::vector<Fields> lines_;
  std::size_t at_ = 0;
  bool ended_ = false;
  std::map<std::string, SimulatedHost> hosts_;
  std::map<std::string, Handle> handles_;
  std::map<std::string, Parcel> parcels_;
};

std::vector<std::filesystem::path> Histories() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(BTFC_GOLDEN_FOLDER)) {
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

class GoldenTest : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(GoldenTest, LeadsToTheModelsTrees) {
  const auto folder =
      std::filesystem::path(testing::TempDir()) / ("golden-" + GetParam().stem().string());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  Replay(GetParam(), folder).Run();
  std::filesystem::remove_all(folder);
}

std::string NameOf(const testing::TestParamInfo<std::filesystem::path>& history) {
  std::string name = history.param.stem().string();
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Histories, GoldenTest, testing::ValuesIn(Histories()), NameOf);

}  // namespace
}  // namespace btfc::index
