// OldSearch: what older contents, on disk, have of a content that is being downloaded. They are cut
// into segments while the manifest and the outline come in; then what the outline and its details
// say of the content is looked up among them, and the chunks that are known whole are put together.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include "content/old_contents.h"
#include "content/reuse_plan.h"
#include "net/loop.h"
#include "net/swarm_session.h"

namespace p2p::net {

// Older contents that somebody named are worth so many times the wait: see peer::outline_time().
inline constexpr int kRequiredOutlineTimes = 4;

class OldSearch {
 public:
  // `open` gives the older contents; it is called on another thread.
  using Open = std::function<Result<std::unique_ptr<OldContents>>()>;
  // Runs a job in the background, then `done` on the loop.
  using Work = std::function<void(std::function<void()> job, std::function<void()> done)>;
  struct Found {
    // Null where nothing was found, or there was no outline.
    std::shared_ptr<const ReusePlan> plan;
    Bitfield composed;  // chunks that were put together, verified and written
    std::uint64_t composed_bytes = 0;
  };

  // What comes of older contents that cannot be read: `failed` is told, or what can be is searched.
  // Optional ones are not looked at any closer where hardly a group is found.
  enum class Need { kRequired, kOptional };

  OldSearch(Work work, Open open, Need need);
  ~OldSearch();

  // Begins to read the older contents. Where they are required an error ends the search: `failed`
  // is told, once.
  void start(std::function<void(const Error&)> failed);
  // The manifest is here: what is known of it is asked of the neighbours.
  void on_manifest(std::shared_ptr<const Manifest> manifest, SwarmSession& session);
  // Where to write what is found, and which chunks need not be; `done` is called once, when all is
  // ready to be asked for.
  void compose(std::shared_ptr<ChunkWriter> writer, Bitfield have,
               std::function<void(Result<Found>)> done);
  // What runs ends soon; nothing more is told.
  void stop();
  // The same when nothing runs any more: the older contents are closed.
  void close();

 private:
  void on_outline(std::optional<Outline> outline);
  void search();
  void want_details();
  void on_details();
  void finish();
  void fail(const Error& why);
  Unreadable unreadable() const;

  Work work_;
  Open open_;
  Need need_;
  std::function<void(const Error&)> failed_;
  std::function<void(Result<Found>)> done_;
  SwarmSession* session_ = nullptr;
  std::shared_ptr<const Manifest> manifest_;
  std::shared_ptr<ChunkWriter> writer_;
  Bitfield have_;

  std::shared_ptr<OldContents> old_;
  bool indexed_ = false;        // by groups, or never will be
  bool outline_known_ = false;  // it came, or never will
  bool segments_ready_ = false, details_ready_ = false;
  std::shared_ptr<const Outline> outline_;
  std::optional<ReuseSearch> search_;
  std::vector<std::pair<std::uint32_t, std::vector<Segment>>> details_;
  std::shared_ptr<const ReusePlan> plan_;
  bool planned_ = false;  // plan_ is final
  std::stop_source stop_, stop_indexing_;
};

}  // namespace p2p::net
