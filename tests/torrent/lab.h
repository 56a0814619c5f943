// Network namespaces joined by a switch, each with a link of a given speed. Needs root.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace btfc::torrent {

class Lab {
 public:
  // `mbit` each way for each host. Look at ok() before using it.
  Lab(int hosts, int mbit);
  ~Lab();
  Lab(const Lab&) = delete;
  Lab& operator=(const Lab&) = delete;

  bool ok() const { return ok_; }
  std::string Ip(int host) const;
  // On a thread inside the host's namespace; threads that it starts stay there.
  void In(int host, const std::function<void()>& work) const;

 private:
  bool Run(const std::string& command);
  std::string Name(int host) const;

  const int hosts_;
  const std::string prefix_;
  bool ok_ = true;
};

}  // namespace btfc::torrent
