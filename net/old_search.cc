#include "net/old_search.h"

#include "absl/strings/str_cat.h"
#include "base/units.h"
#include "net/log.h"

namespace p2p::net {

OldSearch::OldSearch(Work work, Open open, Need need)
    : work_(std::move(work)), open_(std::move(open)), need_(need) {}

OldSearch::~OldSearch() { stop(); }

void OldSearch::stop() {
  stop_.request_stop();
  stop_indexing_.request_stop();
}

void OldSearch::close() {
  stop();
  search_.reset();
  old_.reset();
  outline_.reset();
  plan_.reset();
  details_ = {};
  open_ = nullptr;
}

void OldSearch::fail(const Error& why) {
  if (need_ == Need::kRequired) return failed_(why);
  log_warn(absl::StrCat("fetched without an older version: ", why.message));
  planned_ = true;
  finish();
}

Unreadable OldSearch::unreadable() const {
  return need_ == Need::kRequired ? Unreadable::kFails : Unreadable::kPassedOver;
}

void OldSearch::start(std::function<void(const Error&)> failed) {
  failed_ = std::move(failed);
  auto opened = std::make_shared<Result<std::unique_ptr<OldContents>>>(nullptr);
  work_(
      [open = open_, opened, unreadable = unreadable(), stop = stop_indexing_.get_token()] {
        *opened = open();
        if (!*opened) return;
        HashJob job;
        job.stop = stop;
        if (Status indexed = (**opened)->index_groups(job, unreadable); !indexed)
          *opened = std::move(indexed).error();
      },
      [this, opened] {
        if (stop_.stop_requested()) return;
        indexed_ = true;
        if (*opened)
          old_ = std::move(**opened);
        else if (opened->error().code != ErrorCode::kInterrupted)
          return fail(opened->error());
        search();
      });
}

void OldSearch::on_manifest(std::shared_ptr<const Manifest> manifest, SwarmSession& session) {
  manifest_ = std::move(manifest);
  session_ = &session;
  OutlineHandlers handlers;
  handlers.on_outline = [this](std::optional<Outline> outline) { on_outline(std::move(outline)); };
  handlers.on_detail = [this](std::uint32_t first, std::vector<Segment> segments) {
    details_.emplace_back(first, std::move(segments));
  };
  handlers.on_details_done = [this] {
    details_ready_ = true;
    on_details();
  };
  const std::uint64_t bytes = manifest_->layout().total_bytes;
  const int times = need_ == Need::kRequired ? kRequiredOutlineTimes : 1;
  session.fetch_outline(bytes, times * peer::outline_time(bytes), std::move(handlers));
}

void OldSearch::on_outline(std::optional<Outline> outline) {
  outline_known_ = true;
  if (outline) {
    outline_ = std::make_shared<const Outline>(*std::move(outline));
  } else {
    log_warn("nobody has given an outline of the content: the older version cannot be used");
    stop_indexing_.request_stop();
  }
  search();
}

// As soon as both are here: which groups are in the older contents.
void OldSearch::search() {
  if (!indexed_ || !outline_known_ || planned_ || stop_.stop_requested()) return;
  if (!outline_) {
    planned_ = true;
    return finish();
  }
  work_([this] { search_.emplace(outline_, old_); },
        [this] {
          if (!stop_.stop_requested()) want_details();
        });
}

// Of the groups that are not. Meanwhile what the older contents have beside those that are is cut
// up finer.
void OldSearch::want_details() {
  const bool worth = need_ == Need::kRequired || search_->is_worthwhile();
  const auto wanted = worth ? search_->missing_groups() : std::vector<std::uint32_t>();
  session_->want_details(outline_, wanted);
  if (wanted.empty() || details_ready_) {
    segments_ready_ = true;
    return on_details();
  }
  auto indexed = std::make_shared<Status>();
  work_(
      [old = old_, indexed, unreadable = unreadable(), stop = stop_indexing_.get_token()] {
        HashJob job;
        job.stop = stop;
        *indexed = old->index_segments(job, unreadable);
      },
      [this, indexed] {
        if (stop_.stop_requested()) return;
        if (!*indexed) return fail(indexed->error());
        segments_ready_ = true;
        on_details();
      });
}

void OldSearch::on_details() {
  if (!segments_ready_ || !details_ready_ || planned_ || stop_.stop_requested()) return;
  work_(
      [this] {
        for (const auto& [first, segments] : details_) search_->add_detail(first, segments);
        plan_ = search_->plan(manifest_->layout());
      },
      [this] {
        if (stop_.stop_requested()) return;
        details_ = {};
        planned_ = true;
        log_info(absl::StrCat("of ", format_bytes(manifest_->layout().total_bytes), " ",
                              format_bytes(plan_->known_bytes()), " are in the older version"));
        finish();
      });
}

void OldSearch::compose(std::shared_ptr<ChunkWriter> writer, Bitfield have,
                        std::function<void(Result<Found>)> done) {
  writer_ = std::move(writer);
  have_ = std::move(have);
  done_ = std::move(done);
  finish();
}

void OldSearch::finish() {
  if (!planned_ || !done_) return;
  const auto done = std::exchange(done_, nullptr);
  if (!plan_ || plan_->known_bytes() == 0) return done(Found{nullptr, Bitfield(have_.size()), 0});
  auto composed = std::make_shared<Result<Bitfield>>(Bitfield());
  work_(
      [plan = plan_, manifest = manifest_, writer = writer_, have = have_, composed,
       stop = stop_.get_token()] {
        HashJob job;
        job.stop = stop;
        *composed = plan->compose(*manifest, have, *writer, job);
      },
      [this, composed, done] {
        if (stop_.stop_requested()) return;
        if (!*composed) return done(std::move(*composed).error());
        const std::uint64_t bytes = bytes_of_chunks(manifest_->layout(), **composed);
        done(Found{plan_, std::move(**composed), bytes});
      });
}

}  // namespace p2p::net
