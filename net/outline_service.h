// OutlineService: answers a swarm's neighbours who ask for the outline of the content and for
// details of it. Who is complete makes the outline when it is first asked, in the background, and
// keeps it; who got one itself passes it on.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <stop_token>
#include <utility>
#include <vector>

#include "net/loop.h"
#include "net/transport.h"

namespace p2p::net {

// Of one content, beside the outline: details that were made or got, for the next who asks. When
// they are more, all are forgotten.
inline constexpr std::size_t kMaxKeptDetailBytes = 16 * 1024 * 1024;
// Made at once, for all neighbours together: the thread pool has other work too.
inline constexpr int kDetailJobs = 2;

class OutlineService {
 public:
  OutlineService(Loop& loop, Transport& transport);
  // What runs in the background stops soon, and finds nobody there.
  ~OutlineService();

  // From now on all of the content can be read.
  void set_complete(std::shared_ptr<const ContentIo> io);
  // From another, to be passed on. They are as good as what they were got from.
  void keep(std::shared_ptr<const Outline> outline);
  void keep_detail(std::uint32_t first, std::uint32_t count, Bytes detail);

  // Answered by one OutlinePart, at once or when the outline has been made.
  void on_request(ConnectionId id, std::uint32_t offset);
  // Answered by one DetailPart. False: it asks for too many at once.
  bool on_request(ConnectionId id, const peer::DetailRequest& request);
  void forget(ConnectionId id);

 private:
  using GroupRun = std::pair<std::uint32_t, std::uint32_t>;
  struct DetailJob {
    ConnectionId id;
    GroupRun run;
  };
  void make_outline();
  void set_outline(std::shared_ptr<const Outline> outline);
  void make_details();
  void answer(ConnectionId id, const GroupRun& run, Bytes detail);

  Loop& loop_;
  Transport& transport_;
  std::shared_ptr<const ContentIo> io_;  // null: we are not complete
  std::shared_ptr<const Outline> outline_;
  std::shared_ptr<const Bytes> encoded_;
  bool making_ = false, failed_ = false;
  std::vector<std::pair<ConnectionId, std::uint32_t>> waiting_;  // for the outline
  std::deque<DetailJob> details_;                                // to be made
  std::map<ConnectionId, std::size_t> owed_;                     // details, to whom
  int detail_jobs_ = 0;
  std::map<GroupRun, Bytes> kept_;
  std::size_t kept_bytes_ = 0;
  std::stop_source stop_;
  // Lets jobs know that we are gone.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p::net
