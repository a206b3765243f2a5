// p2p keys: which cluster keys a key file holds, and how they are changed. Keys are named by their
// hints; no secret is printed.
#include <cstdio>
#include <iostream>

#include "crypto/keyring.h"
#include "tools/p2p/commands.h"
#include "tools/p2p/exit_code.h"
#include "tools/p2p/key_file.h"

namespace p2p::cli {
namespace {

struct KeysOptions {
  std::string file, key;
};

using Edit = Result<int> (*)(const KeysOptions& options);

Result<int> list_keys(const KeysOptions& options) {
  P2P_ASSIGN(const KeyFile file, KeyFile::read(options.file));
  for (std::size_t i = 0; i < file.keys().size(); ++i)
    std::printf("%s%s\n", hint_text(file.keys().hint(i)).c_str(), i == 0 ? "  in use" : "");
  return kOk;
}

// From stdin it stays out of the process list.
Result<Secret> key_to_add(const std::string& argument) {
  if (argument.empty()) return Secret::random();
  std::string text = argument;
  if (argument == "-") std::getline(std::cin, text);
  P2P_ASSIGN(const std::optional<Secret> key, parse_key_line(text, 1));
  if (!key) return Error{ErrorCode::kUsage, "there is no key on stdin"};
  return *key;
}

Result<int> add_key(const KeysOptions& options) {
  P2P_ASSIGN(KeyFile file, KeyFile::read(options.file));
  P2P_ASSIGN(const Secret key, key_to_add(options.key));
  P2P_TRY(file.add(key));
  P2P_TRY(file.write());
  std::printf("%s\n", hint_text(key_hint_of(key)).c_str());
  std::fprintf(stderr,
               "added; once the file is on every host, `p2p keys use` puts the key to use\n");
  return kOk;
}

Result<int> use_key(const KeysOptions& options) {
  P2P_ASSIGN(KeyFile file, KeyFile::read(options.file));
  P2P_TRY(file.use(options.key));
  P2P_TRY(file.write());
  std::fprintf(stderr,
               "%s is in use; once it is on every host, `p2p keys remove` takes the old one away\n",
               options.key.c_str());
  return kOk;
}

Result<int> remove_key(const KeysOptions& options) {
  P2P_ASSIGN(KeyFile file, KeyFile::read(options.file));
  P2P_TRY(file.remove(options.key));
  P2P_TRY(file.write());
  std::fprintf(stderr, "removed %s\n", options.key.c_str());
  return kOk;
}

CLI::App* add_edit(CLI::App& keys, Run& run, const std::string& name, const std::string& help,
                   Edit edit, const std::shared_ptr<KeysOptions>& options) {
  CLI::App* command = keys.add_subcommand(name, help);
  command->add_option("FILE", options->file, "Key file of `p2p keygen`")->required();
  command->callback([options, edit, &run] { run = body_of(options, edit); });
  return command;
}

}  // namespace

void add_keys(CLI::App& app, Run& run) {
  auto options = std::make_shared<KeysOptions>();
  CLI::App* keys = app.add_subcommand("keys", "List and change the cluster keys in a file");
  keys->require_subcommand(1);
  add_edit(*keys, run, "list", "Print the name of each key; the first is in use", list_keys,
           options);
  add_edit(*keys, run, "add", "Add a key, not in use yet, and print its name", add_key, options)
      ->add_option(
          "KEY", options->key,
          "The key; `-`: from stdin, as one that starts with '-' must be. Without KEY one is made");
  add_edit(*keys, run, "use", "Put a key of the file to use: what we send is sealed with it",
           use_key, options)
      ->add_option("KEY", options->key, "Its name")
      ->required();
  add_edit(*keys, run, "remove", "Remove a key that is not in use", remove_key, options)
      ->add_option("KEY", options->key, "Its name")
      ->required();
  keys->footer(
      "Example:\n"
      "  p2p keys add cluster.key             prints the new key's name; copy the file to every "
      "host\n"
      "  p2p keys use cluster.key 1f3c97ab    and copy it again\n"
      "  p2p keys remove cluster.key 7be0c264\n\n"
      "So the key of a cluster changes while it runs. A file holds up to 4 keys, one a line: all "
      "of "
      "them let others in.");
}

}  // namespace p2p::cli
