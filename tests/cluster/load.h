// Applications that work in a mount while its daemon may die, and a log of what they were told.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace btfc::cluster {

// One application with a folder of its own, `name` below a mount. One thread at a time.
//
// What a call returned for is in `files_`. The call that was under way when the mount died may have
// happened, or not, or (a write) in part: the log holds every outcome that is allowed, and the next
// Check finds which of them it was.
class Application {
 public:
  Application(std::filesystem::path mount, std::string name, unsigned seed);

  // Makes the folder. Before the first Run.
  bool Begin();
  // One operation after the other, until the mount is gone, `stop` is set, or `operations` are
  // done. False if a call answered what it must not.
  bool Run(const std::atomic<bool>& stop, unsigned operations);
  // A new file of this content. False as of Run.
  bool CreateOf(const std::string& bytes);
  // The folder is what the log says: every file whole, nothing else there. From now on what is
  // there counts.
  bool Check();
  // The same as another host sees it, without an outcome being open.
  bool CheckOn(const std::filesystem::path& mount);
  // The mount died while Check looked: what it said counts for nothing.
  void Forgive() { complaint_.clear(); }
  // Why Run or Check answered false.
  const std::string& complaint() const { return complaint_; }
  unsigned done() const { return done_; }
  // A call of the last Run found the mount dead.
  bool gone() const { return gone_; }

 private:
  using Bytes = std::string;
  using Fits = std::function<bool(const Bytes&)>;
  // Names with what they may hold; nothing: the name is not there.
  using Outcome = std::map<std::string, std::optional<Fits>>;

  bool Operate();
  bool Create();
  bool Save();
  bool Append();
  bool Patch(bool beside_a_reader);
  bool Rewrite(bool beside_a_reader);
  bool Truncate();
  bool Remove();
  bool Move();
  bool MoveFolder();
  bool OpenAndClose();
  bool ReadBack();

  // Answers whether the call worked. What may not fail while the daemon lives is a complaint.
  bool Told(long result, const char* call, const std::string& name);
  bool WriteWhole(int fd, const Bytes& bytes, long offset, const std::string& name);
  bool WriteNew(const std::string& name, const Bytes& bytes, int flags);
  void Expect(std::vector<Outcome> outcomes) { open_ = std::move(outcomes); }
  void Settled() { open_.clear(); }
  bool Settle(const std::map<std::string, Bytes>& there);
  bool Complain(const std::string& why);
  std::map<std::string, Bytes> ReadAll(const std::filesystem::path& mount);

  std::string Path(const std::string& name) const;
  std::string NewName();
  const std::string* Any();  // of the names; nothing if there are none
  Bytes RandomBytes();
  unsigned Random(unsigned below);

  const std::filesystem::path mount_;
  const std::string name_;
  std::mt19937 random_;
  unsigned next_ = 0;
  unsigned done_ = 0;
  std::string sub_ = "sub0";  // a folder that is renamed
  std::map<std::string, Bytes> files_;
  std::vector<Outcome> open_;
  bool gone_ = false;
  std::string complaint_;
};

}  // namespace btfc::cluster
