// What a Store is made of, for store.cc and store_copy.cc.
#pragma once

#include <mutex>
#include <shared_mutex>

#include "content/file_set.h"
#include "content/partial_folder.h"
#include "content/rooted.h"
#include "content/store.h"

namespace p2p {

namespace fs = std::filesystem;

struct Store::Impl {
  std::shared_ptr<const Manifest> manifest;
  ContentId content;
  StoreOptions options;
  fs::path target;  // as it was given
  std::string target_name;
  Fd parent;  // of the target
  PartialFolder partial;
  Fd data;              // of a folder content: partial/data, and the target once it is in place
  bool placed = false;  // in its place; only tidying is left to do
  Bitfield resumed;
  bool linked = false;  // the files are another content's too, and are left as they are

  // Where chunks are read and written: the partial data, and the target once it is in place.
  std::shared_mutex files_mutex;
  std::unique_ptr<FileSet> files;  // guarded by files_mutex

  bool is_folder() const { return manifest->root == Manifest::Root::kFolder; }

  Status prepare();
  Status check_names() const;
  Result<bool> open_data();
  Status check_space(const Bitfield& present) const;
  Status find_resumed();
  Status sync_data() const;
  Status finish_entries();
  Status finish_file(int root, Looker& looker, const Entry& entry) const;
  Status mend_file(int root, const Entry& entry) const;
  Status finish_link(int root, const Entry& entry) const;
  Status move_into_place();
  Status move_by_steps();
  Status place();
  // store_copy.cc
  class Copier;
};

}  // namespace p2p
