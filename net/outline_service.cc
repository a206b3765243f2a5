#include "net/outline_service.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "net/log.h"

namespace p2p::net {

OutlineService::OutlineService(Loop& loop, Transport& transport)
    : loop_(loop), transport_(transport) {}

OutlineService::~OutlineService() { stop_.request_stop(); }

void OutlineService::set_complete(std::shared_ptr<const ContentIo> io) { io_ = std::move(io); }

void OutlineService::keep(std::shared_ptr<const Outline> outline) {
  if (!outline_) set_outline(std::move(outline));
}

void OutlineService::keep_detail(std::uint32_t first, std::uint32_t count, Bytes detail) {
  if (kept_bytes_ + detail.size() > kMaxKeptDetailBytes) {
    kept_.clear();
    kept_bytes_ = 0;
  }
  const std::size_t bytes = detail.size();
  if (kept_.try_emplace(GroupRun{first, count}, std::move(detail)).second) kept_bytes_ += bytes;
}

void OutlineService::set_outline(std::shared_ptr<const Outline> outline) {
  encoded_ = std::make_shared<const Bytes>(encode_outline(*outline));
  outline_ = std::move(outline);
}

void OutlineService::on_request(ConnectionId id, std::uint32_t offset) {
  if (!outline_ && io_ && !failed_ && io_->layout.total_bytes > 0) {
    // Each is answered; who asks again and again is answered as often, on its lane.
    waiting_.emplace_back(id, offset);
    if (!std::exchange(making_, true)) make_outline();
    // A neighbour that will not wait must not fill our memory.
    constexpr std::ptrdiff_t kMostWaiting = 4;
    const auto own = [&](const auto& one) { return one.first == id; };
    if (std::count_if(waiting_.begin(), waiting_.end(), own) > kMostWaiting)
      waiting_.erase(std::find_if(waiting_.begin(), waiting_.end(), own));
    return;
  }
  if (encoded_)
    transport_.send_outline_part(id, offset, encoded_);
  else
    transport_.send(id, peer::Message(peer::OutlinePart{}));
}

void OutlineService::make_outline() {
  auto made = std::make_shared<std::optional<Result<Outline>>>();
  loop_.work(
      [io = io_, made, stop = stop_.get_token()] {
        HashJob job;
        job.stop = stop;
        *made = p2p::make_outline(io->layout, *io->reader, job);
      },
      [this, made, alive = std::weak_ptr<bool>(alive_)] {
        if (alive.expired()) return;
        making_ = false;
        if (**made) {
          set_outline(std::make_shared<const Outline>(*std::move(**made)));
        } else {
          failed_ = true;
          log_warn(absl::StrCat("no outline for those with an older version: ",
                                (*made)->error().message));
        }
        for (const auto& [id, offset] : std::exchange(waiting_, {})) on_request(id, offset);
      });
}

bool OutlineService::on_request(ConnectionId id, const peer::DetailRequest& request) {
  const GroupRun run{request.first, request.count};
  if (const auto kept = kept_.find(run); kept != kept_.end()) {
    transport_.send(id, peer::Message(peer::DetailPart{run.first, run.second, kept->second}));
    return true;
  }
  const bool known =
      outline_ && io_ && std::uint64_t{run.first} + run.second <= outline_->groups.size();
  if (!known) {
    transport_.send(id, peer::Message(peer::DetailPart{run.first, run.second, {}}));
    return true;
  }
  if (++owed_[id] > peer::kMaxQueuedDetails) return false;
  details_.push_back({id, run});
  make_details();
  return true;
}

void OutlineService::make_details() {
  while (detail_jobs_ < kDetailJobs && !details_.empty()) {
    const DetailJob next = details_.front();
    details_.pop_front();
    ++detail_jobs_;
    auto made = std::make_shared<std::optional<Result<Bytes>>>();
    loop_.work(
        [io = io_, outline = outline_, next, made] {
          *made = make_detail(*outline, next.run.first, next.run.second, io->layout, *io->reader);
        },
        [this, next, made, alive = std::weak_ptr<bool>(alive_)] {
          if (alive.expired()) return;
          --detail_jobs_;
          answer(next.id, next.run, **made ? *std::move(**made) : Bytes());
          make_details();
        });
  }
}

void OutlineService::answer(ConnectionId id, const GroupRun& run, Bytes detail) {
  const auto owed = owed_.find(id);
  if (owed != owed_.end()) {  // it is still there
    if (--owed->second == 0) owed_.erase(owed);
    transport_.send(id, peer::Message(peer::DetailPart{run.first, run.second, detail}));
  }
  if (!detail.empty()) keep_detail(run.first, run.second, std::move(detail));
}

void OutlineService::forget(ConnectionId id) {
  std::erase_if(waiting_, [&](const auto& one) { return one.first == id; });
  std::erase_if(details_, [&](const DetailJob& job) { return job.id == id; });
  owed_.erase(id);
}

}  // namespace p2p::net
