#include "net/name_lookups.h"

#include <uv.h>

#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "net/address.h"

namespace p2p::net {
namespace {

Error not_found(const HostPort& target, const std::string& why) {
  return Error{ErrorCode::kUnreachable,
               absl::StrCat("the name '", target.host, "' was not found: ", why)};
}

}  // namespace

struct NameLookups::Owner {
  std::mutex mutex;
  NameLookups* lookups;  // null once it is gone; guarded by mutex
  const Post post;
  const Ask ask;
};

NameLookups::NameLookups(Post post, Ask ask)
    : owner_(new Owner{{}, this, std::move(post), std::move(ask)}) {}

NameLookups::~NameLookups() {
  const std::lock_guard lock(owner_->mutex);
  owner_->lookups = nullptr;
}

// By libuv, which spells names of all scripts as resolvers know them.
Result<std::vector<Endpoint>> NameLookups::ask_system(const HostPort& target) {
  uv_loop_t loop;
  if (const int status = uv_loop_init(&loop); status != 0)
    return not_found(target, uv_strerror(status));
  uv_getaddrinfo_t request;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  const int status = uv_getaddrinfo(&loop, &request, nullptr, target.host.c_str(), nullptr, &hints);
  std::vector<Endpoint> endpoints;
  if (status == 0) {
    for (const addrinfo* at = request.addrinfo; at; at = at->ai_next) {
      Endpoint endpoint = endpoint_of(at->ai_addr);
      endpoint.port = target.port;
      endpoints.push_back(endpoint);
    }
    uv_freeaddrinfo(request.addrinfo);
  }
  P2P_CHECK(uv_loop_close(&loop) == 0);
  if (endpoints.empty()) return not_found(target, uv_strerror(status));
  return endpoints;
}

void NameLookups::start(const HostPort& target, Done done) {
  waiting_.push_back({target, std::move(done)});
  start_waiting();
}

void NameLookups::start_waiting() {
  while (!waiting_.empty() && asked_.size() < kMaxNameLookups) {
    auto [target, done] = std::move(waiting_.front());
    waiting_.pop_front();
    const std::uint64_t number = next_++;
    asked_.emplace(number, std::move(done));
    const auto answer = [owner = owner_, number](Result<std::vector<Endpoint>> found) {
      const std::lock_guard lock(owner->mutex);
      if (owner->lookups)
        owner->post([owner, number, found = std::move(found)] {
          // Only the thread that this runs on may end it.
          if (owner->lookups) owner->lookups->finish(number, found);
        });
    };
    try {
      std::thread([owner = owner_, target = target, answer] {
        answer(owner->ask(target));
      }).detach();
    } catch (const std::system_error& failure) {
      answer(not_found(target, failure.code().message()));
    }
  }
}

void NameLookups::finish(std::uint64_t number, Result<std::vector<Endpoint>> found) {
  const Done done = std::move(asked_.at(number));
  asked_.erase(number);
  start_waiting();
  done(std::move(found));
}

}  // namespace p2p::net
