// Catalog: an agent's store folder.
//
//   lock              held (flock) by the agent that runs; the kernel lets go of it when that dies
//   contents/ID/      one content, ID in hex
//     holding         agent/holding.h
//     manifest        encoded, as its peers have it
//     files           what its files looked like when they were verified (content/hash_record.h):
//                     as long as they look so, nothing is hashed again
//     damaged         what was its data, and is so no more: an older version of it while it is
//                     fetched again
//     data            the file or folder; while it is fetched, the partial folder beside it
//   removed/          what is being removed: out of contents/ by one rename, then tree by tree
//
// Everything small is replaced as a whole, and synced before it is relied upon.
#pragma once

#include <filesystem>
#include <memory>
#include <vector>

#include "agent/holding.h"
#include "content/file_set.h"
#include "content/hash_record.h"
#include "content/manifest.h"
#include "content/rooted.h"

namespace p2p::agent {

// What of a content is on disk beside its holding.
struct Held {
  Bytes encoded_manifest;
  std::shared_ptr<const Manifest> manifest;
};

class Catalog {
 public:
  // Makes the folder where it is missing (its parent must exist) and takes the lock: kExists where
  // another agent has it.
  static Result<Catalog> open(const std::filesystem::path& folder);

  // What the last agent left, in the order of their ids. Problems with one are logged and leave it
  // as it is.
  std::vector<Holding> load() const;

  // Makes the content's folder where it is missing.
  Status save(const Holding& holding) const;
  Status save_manifest(const ContentId& content, ByteView encoded) const;
  // kMalformed where it is not the content's.
  Result<Held> load_manifest(const ContentId& content) const;

  // What the files at data_of() look like now is to be trusted from now on. Those in the store are
  // made read-only.
  Status seal(const Holding& holding, std::shared_ptr<const Manifest> manifest) const;
  // The same, with what a scan has found.
  Status save_record(const ContentId& content, const HashRecord& record) const;
  Result<HashRecord> load_record(const ContentId& content) const;
  // The files, to be read as long as they look as they did.
  Result<std::unique_ptr<FileSet>> open_files(const Holding& holding,
                                              std::shared_ptr<const Manifest> manifest) const;

  // Out of the way at once; empty_removed() frees the space, in the background.
  Status remove(const ContentId& content) const;
  // Its data becomes what lies at damaged_of(), in place of what was there; where there is none
  // that stays.
  Status set_aside_damaged(const ContentId& content) const;
  // As remove(), of that alone.
  Status remove_damaged(const ContentId& content) const;
  Status empty_removed() const;

  // Where its data is when it is complete: in the store, or where its source lies.
  std::filesystem::path data_of(const Holding& holding) const;
  std::filesystem::path damaged_of(const ContentId& content) const;
  std::filesystem::path manifest_path(const ContentId& content) const;
  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_of(const ContentId& content) const;
  Status move_away(const std::filesystem::path& path, const ContentId& content) const;

  std::filesystem::path folder_;
  Fd lock_;
};

}  // namespace p2p::agent
