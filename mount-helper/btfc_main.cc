// btfc: asks and tells the daemon of a mounted cluster.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "mount-helper/commands.h"

namespace {

using btfc::mount_helper::Where;

// Options that most commands share.
void AddWhere(CLI::App* command, Where* where, bool with_json) {
  command->add_option("mountpoint", where->mount_point,
                      "the mounted folder (default: the one you are in, or the only one)");
  command->add_option("--cache", where->cache, "its cache folder, if it is not the usual one");
  if (with_json) command->add_flag("--json", where->json, "for programs");
}

// A word that is no command is named, with those that there are. Empty: it is one, or an option.
std::string UnknownCommand(const CLI::App& app, const std::string& word) {
  if (word.empty() || word.front() == '-') return "";
  std::string names;
  for (const auto* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_name() == word) return "";
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  return "'" + word + "' is no command; there are: " + names;
}

int Main(int argc, char** argv) {
  using namespace btfc::mount_helper;
  CLI::App app{"btfc - a folder that is the same on every host of a private cluster"};
  app.set_version_flag("--version", "btfc " BTFC_VERSION);
  app.require_subcommand(1);
  Where where;
  std::string file;
  int code = 0;

  auto* status =
      app.add_subcommand("status", "how the folder is: what is still to come, conflicts");
  AddWhere(status, &where, true);
  status->callback([&] { code = StatusCommand(where); });

  auto* peers = app.add_subcommand("peers", "the hosts that are connected");
  AddWhere(peers, &where, true);
  peers->callback([&] { code = PeersCommand(where); });

  auto* key = app.add_subcommand("key", "where the cluster's key is, and how to add a host");
  AddWhere(key, &where, true);
  key->callback([&] { code = KeyCommand(where); });

  auto* join = app.add_subcommand("join", "make this host a member, before its first mount");
  join->add_option("keyfile", file, "a copy of another host's cluster.key, mode 0600")->required();
  AddWhere(join, &where, false);
  join->callback([&] { code = JoinCommand(file, where); });

  std::string time;
  const auto add_path = [&](CLI::App* command, const char* what) {
    command->add_option("file", file, what)->required();
    command->add_option("--cache", where.cache, "the cache folder, if it is not the usual one");
  };
  const auto add_time = [&](CLI::App* command) {
    command->add_option("--at", time, "\"2026-11-22 18:30\", or how long ago: 10m, 2h, 3d");
  };

  auto* log = app.add_subcommand("log", "the versions of a file, also of a deleted one");
  add_path(log, "a file in a mounted folder");
  log->add_flag("--json", where.json, "for programs");
  log->callback([&] { code = LogCommand(file, where); });

  auto* restore = app.add_subcommand("restore", "make a file what it was before, or at a time");
  add_path(restore, "a file in a mounted folder");
  add_time(restore);
  restore->callback([&] { code = RestoreCommand(file, time, where); });

  auto* undelete = app.add_subcommand("undelete", "bring a deleted file or folder back");
  add_path(undelete, "where it was");
  add_time(undelete);
  undelete->callback([&] { code = UndeleteCommand(file, time, where); });

  auto* remove = app.add_subcommand("remove", "a host is no member any more");
  remove->add_option("host", file, "its name, or the beginning of its device's id")->required();
  AddWhere(remove, &where, false);
  remove->callback([&] { code = RemoveCommand(file, where); });

  auto* import = app.add_subcommand("import", "take in what is new below the mount");
  AddWhere(import, &where, false);
  import->callback([&] { code = ImportCommand(where);
});

if (const auto unknown = argc > 1 ? UnknownCommand(app, argv[1]) : ""; !unknown.empty()) {
  std::fprintf(stderr, "btfc: %s\n", unknown.c_str());
  return 1;
}
try {
  app.parse(argc, argv);
} catch (const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
  const std::string text = error.what();
  std::fprintf(stderr, "btfc: %s (btfc --help)\n", text.substr(0, text.find('\n')).c_str());
  return 1;
}
return code;
}  // namespace

}  // namespace

int main(int argc, char** argv) {
  try {
    return Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "btfc: %s\n", error.what());
    return 1;
  }
}
