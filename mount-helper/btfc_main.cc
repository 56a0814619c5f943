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

// What the commands' options fill in, and the exit code.
struct Call {
  Where where;
  std::string file;
  std::string time;
  std::string to = "btfc-invitation.key";
  bool alone = false;
  bool read_only = false;
  int code = 0;
};

void AddPath(CLI::App* command, Call* call, const char* what) {
  command->add_option("file", call->file, what)->required();
  command->add_option("--cache", call->where.cache, "the cache folder, if it is not the usual one");
}

void AddQuestions(CLI::App& app, Call& call) {
  using namespace btfc::mount_helper;
  auto* status = app.add_subcommand(
      "status", "how the folder is: what is to come and to go, what is open, conflicts");
  AddWhere(status, &call.where, true);
  status->callback([&] { call.code = StatusCommand(call.where); });

  auto* peers = app.add_subcommand("peers", "the hosts that are connected");
  AddWhere(peers, &call.where, true);
  peers->callback([&] { call.code = PeersCommand(call.where); });

  auto* key = app.add_subcommand("key", "where the cluster's key is, and how to add a host");
  AddWhere(key, &call.where, true);
  key->callback([&] { call.code = KeyCommand(call.where); });

  auto* log = app.add_subcommand("log", "the versions of a file, also of a deleted one");
  AddPath(log, &call, "a file in a mounted folder");
  log->add_flag("--json", call.where.json, "for programs");
  log->callback([&] { call.code = LogCommand(call.file, call.where); });
}

void AddVersions(CLI::App& app, Call& call) {
  using namespace btfc::mount_helper;
  const auto add_time = [&call](CLI::App* command) {
    command->add_option("--at", call.time, "\"2026-11-22 18:30\", or how long ago: 10m, 2h, 3d");
  };
  auto* restore = app.add_subcommand("restore", "make a file what it was before, or at a time");
  AddPath(restore, &call, "a file in a mounted folder");
  add_time(restore);
  restore->callback([&] { call.code = RestoreCommand(call.file, call.time, call.where); });

  auto* undelete = app.add_subcommand("undelete", "bring a deleted file or folder back");
  AddPath(undelete, &call, "where it was");
  add_time(undelete);
  undelete->callback([&] { call.code = UndeleteCommand(call.file, call.time, call.where); });
}

void AddOrders(CLI::App& app, Call& call) {
  using namespace btfc::mount_helper;
  auto* join = app.add_subcommand("join", "make this host a member, before its first mount");
  join->add_option("keyfile", call.file, "a copy of another host's cluster.key, mode 0600")
      ->required();
  AddWhere(join, &call.where, false);
  join->callback([&] { call.code = JoinCommand(call.file, call.where); });

  auto* remove = app.add_subcommand("remove", "a host is no member any more");
  remove->add_option("host", call.file, "its name, or the beginning of its device's id")
      ->required();
  AddWhere(remove, &call.where, false);
  remove->callback([&] { call.code = RemoveCommand(call.file, call.where); });

  auto* invite = app.add_subcommand("invite", "a key for one more host, which may only read");
  AddWhere(invite, &call.where, false);
  invite->add_flag("--read-only", call.read_only, "it may write nothing");
  invite->add_option("--to", call.to, "the file to write (btfc-invitation.key)");
  invite->callback([&] { call.code = InviteCommand(call.to, call.read_only, call.where); });

  auto* take_in = app.add_subcommand("import", "take in what is new below the mount");
  AddWhere(take_in, &call.where, false);
  take_in->callback([&] { call.code = ImportCommand(call.where); });

  auto* verify = app.add_subcommand(
      "verify", "read all file contents again; fetch anew what is damaged or missing");
  AddWhere(verify, &call.where, true);
  verify->callback([&] { call.code = VerifyCommand(call.where); });

  auto* rebuild = app.add_subcommand("rebuild", "the way back when the index is damaged");
  AddWhere(rebuild, &call.where, false);
  rebuild->add_flag("--alone", call.alone, "no other host has the folder: wait for none");
  rebuild->callback([&] { call.code = RebuildCommand(call.where, call.alone); });
}

int Main(int argc, char** argv) {
  CLI::App app{"btfc - a folder that is the same on every host of a private cluster"};
  app.set_version_flag("--version", "btfc " BTFC_VERSION);
  app.require_subcommand(1);
  Call call;
  AddQuestions(app, call);
  AddVersions(app, call);
  AddOrders(app, call);
  if (const auto unknown = argc > 1 ? UnknownCommand(app, argv[1]) : ""; !unknown.empty()) {
    std::fprintf(stderr, "btfc: %s\n", unknown.c_str());
    return 1;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    const std::string text = argc == 1 ? "say what: btfc status, peers, log ..." : error.what();
    std::fprintf(stderr, "btfc: %s (btfc --help)\n", text.substr(0, text.find('\n')).c_str());
    return 1;
  }
  return call.code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "btfc: %s\n", error.what());
    return 1;
  }
}
