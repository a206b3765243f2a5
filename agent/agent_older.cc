#include <algorithm>
#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/agent.h"
#include "agent/older.h"
#include "net/log.h"

namespace p2p::agent {
namespace {

Version version_of(const Holding& holding) {
  return {holding.content, holding.name, holding.bytes, holding.added};
}

// Those that can be read. Whether they are what they were when they came does not matter: every
// chunk that is made of them is checked.
Result<std::unique_ptr<OldContents>> open_any(const std::vector<std::filesystem::path>& paths) {
  std::vector<OldSource> sources;
  Error failure{ErrorCode::kIo, "there is none"};
  for (const std::filesystem::path& path : paths) {
    auto source = OldContents::source_at(path);
    if (source)
      sources.push_back(*std::move(source));
    else
      failure = std::move(source).error();
  }
  if (sources.empty()) return failure;
  return std::make_unique<OldContents>(std::move(sources));
}

}  // namespace

// What is borrowed stays in the store until it is given back, or taken back.
void Agent::borrow_older(Content& content) {
  give_back_older(content);
  std::vector<Version> complete;
  for (const auto& [id, other] : contents_)
    if (other.holding.state == Holding::State::kComplete)
      complete.push_back(version_of(other.holding));
  content.older = older_versions(version_of(content.holding), std::move(complete));
  lent_.insert(content.older.begin(), content.older.end());
}

void Agent::give_back_older(Content& content) {
  for (const ContentId& id : std::exchange(content.older, {})) lent_.erase(lent_.find(id));
}

// For want of room: step by step, until it is false. What is damaged has more in common with the
// content than what is older; what others have borrowed they then fetch.
bool Agent::do_without_older(Content& content) {
  if (!content.older.empty()) {
    give_back_older(content);
    return true;
  }
  if (content.has_damaged) {
    remove_damaged(content);
    return true;
  }
  if (lent_.empty()) return false;
  for (auto& [id, borrower] : contents_) give_back_older(borrower);
  return true;
}

void Agent::search_older(Content& content) {
  std::vector<std::filesystem::path> paths;
  if (content.has_damaged) paths.push_back(catalog_->damaged_of(content.holding.content));
  for (const ContentId& id : content.older) {
    const Holding& older = contents_.at(id).holding;
    paths.push_back(catalog_->data_of(older));
    net::log_info(absl::StrCat("searching ", older.name, " (", id.short_hex(), ") for what ",
                               content.holding.name, " (", content.holding.content.short_hex(),
                               ") has in common with it"));
  }
  if (paths.empty()) return;
  content.download->search_older(
      [this, paths = std::move(paths)] {
        wait_for_disk();  // what is damaged may be on its way aside
        return open_any(paths);
      },
      net::OldSearch::Need::kOptional);
}

void Agent::remove_damaged(Content& content) {
  if (!std::exchange(content.has_damaged, false)) return;
  on_disk(
      [id = content.holding.content](const Catalog& store) { return store.remove_damaged(id); });
  empty_removed(content.holding.bytes);
}

void Agent::wait_for_disk() {
  std::promise<void> done;
  disk_.post([&] { done.set_value(); });
  done.get_future().wait();
}

}  // namespace p2p::agent
