// PartialFolder: where a download lies until it is whole, ".NAME.p2p-partial" beside the target
// NAME, and the lock that says that somebody is at it. It holds
//
//   lock       held (flock) by the process that fetches; the kernel lets go of it when that dies
//   content    the hex id of the content that all this is of
//   data       the file or folder, as far as it has been fetched
//   journal    content/journal.h
//   replacing  the number (inode) of `data`, from just before it changes places with an old target
//   old        an old target, on file systems where places cannot be changed at once
#pragma once

#include <filesystem>
#include <string>

#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "content/rooted.h"

namespace p2p {

class PartialFolder {
 public:
  static constexpr const char* kData = "data";
  static constexpr const char* kOld = "old";

  // Makes it where there is none, and takes the lock. `parent` must stay open; `target` is as the
  // person gave it. kExists: somebody holds the lock.
  static Result<PartialFolder> open(const Fd& parent, const std::string& target_name,
                                    const std::filesystem::path& target);

  const Fd& fd() const { return folder_; }
  const std::filesystem::path& path() const { return path_; }  // for errors
  std::filesystem::path data_path() const { return path_ / kData; }
  bool is_new() const { return is_new_; }

  // Makes it the content's: what is of another is removed.
  Status claim(const ContentId& content);

  // Nothing, where the journal is not there or cannot be read.
  Bytes read_journal() const;
  // Whole or not at all. The data it speaks of must have been synced.
  Status write_journal(ByteView bytes) const;

  // To be called before `data` and an old target change places: after a crash claim() tells by it
  // which of them `data` is.
  Status note_replacing() const;

  // Does the file system keep names apart that differ only in case or normalisation? Tried here.
  Result<bool> tells_names_apart() const;

  // With all that is in it, the lock last: until then nobody else can have it.
  Status remove();

 private:
  Status lock(const std::filesystem::path& target);
  Status refuse_foreign() const;
  bool is_named_still() const;
  Result<bool> is_of(const ContentId& content) const;
  Result<bool> is_used_up() const;

  int parent_ = -1;
  std::string name_;
  std::filesystem::path path_;
  Fd folder_, lock_;
  bool is_new_ = false;
};

}  // namespace p2p
