// NameLookups: asks the system where hosts are, each on a thread of its own. A resolver that hangs
// holds nothing up but its own answer: not other work, and not the end of the process, for which no
// thread is waited for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "base/endpoint.h"
#include "base/result.h"

namespace p2p::net {

// So many at one time; the others wait for them.
inline constexpr std::size_t kMaxNameLookups = 16;

// Of one thread, on which the answers come.
class NameLookups {
 public:
  using Done = std::function<void(Result<std::vector<Endpoint>>)>;
  using Post = std::function<void(std::function<void()>)>;
  using Ask = std::function<Result<std::vector<Endpoint>>(const HostPort&)>;

  // `post`, called from any thread while this object is there, has a task run on the owner's. `ask`
  // runs on the threads.
  explicit NameLookups(Post post, Ask ask = ask_system);
  // What has not been answered is dropped.
  ~NameLookups();
  NameLookups(const NameLookups&) = delete;

  // The system's resolver, however long it takes.
  static Result<std::vector<Endpoint>> ask_system(const HostPort& target);

  // `done` gets every address found, or kUnreachable with the name and why.
  void start(const HostPort& target, Done done);

 private:
  struct Owner;  // outlives this object in the threads that still ask
  struct Waiting {
    HostPort target;
    Done done;
  };

  void start_waiting();
  void finish(std::uint64_t number, Result<std::vector<Endpoint>> found);

  std::shared_ptr<Owner> owner_;
  std::uint64_t next_ = 0;
  std::map<std::uint64_t, Done> asked_;
  std::deque<Waiting> waiting_;
};

}  // namespace p2p::net
