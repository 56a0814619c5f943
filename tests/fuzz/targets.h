// What takes bytes from outside, each as a function of any bytes. It must neither crash nor hang,
// nor break what it checks itself (BTFC_FUZZ_CHECK).
//
// Built with clang (cmake --preset fuzz && cmake --build build-fuzz), each is a libFuzzer program:
//   build-fuzz/tests/fuzz/fuzz_delta -max_total_time=600 NEW_FOLDER tests/fuzz/corpus/delta
// What it finds is kept in the corpus, with a name that says what it was. In the ordinary build
// the files in corpus/NAME are fed to the same functions (corpus_test.cc).
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace btfc::fuzz {

void Bencode(std::string_view bytes);  // info dictionaries of any size and certificate
void Control(std::string_view bytes);  // what comes in on the control socket
void Delta(std::string_view bytes);    // one part of a delta
void Apply(std::string_view bytes);    // the parts of a delta, to a catalogue
void Gossip(std::string_view bytes);   // a connection of the control torrent
void Key(std::string_view bytes);      // cluster.key
void Options(std::string_view bytes);  // the command line of mount.btfc

// Says what does not hold, and aborts.
[[noreturn]] inline void Broken(const char* condition) {
  std::fprintf(stderr, "does not hold: %s\n", condition);
  std::abort();
}

struct Target {
  const char* name;
  void (*run)(std::string_view bytes);
};

inline constexpr Target kTargets[] = {
    {"apply", Apply},   {"bencode", Bencode}, {"control", Control}, {"delta", Delta},
    {"gossip", Gossip}, {"key", Key},         {"options", Options},
};

}  // namespace btfc::fuzz

#define BTFC_FUZZ_CHECK(condition)                      \
  do {                                                  \
    if (!(condition)) ::btfc::fuzz::Broken(#condition); \
  } while (false)
