// LookupClient: asks owners of a swarm who has how much of it, without joining it.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "net/announce_client.h"
#include "net/loop.h"
#include "net/transport.h"
#include "tracker/messages.h"

namespace p2p::net {

class LookupClient {
 public:
  using Answer = Result<std::vector<tracker::PeerRecord>>;

  // Both must outlive it.
  LookupClient(Loop& loop, const SwarmId& swarm);

  // The number of the question; where a name has several addresses they are tried in turn.
  std::size_t ask(const OwnerAddress& owner);
  // Nothing while it is open. Errors: kUnreachable, kRefused (another key), or what the owner says.
  const std::optional<Answer>& answer(std::size_t question) const {
    return questions_[question].answer;
  }

 private:
  struct Question {
    OwnerAddress owner;
    std::vector<Endpoint> places;  // not tried yet, the first last
    std::optional<Answer> answer;
  };

  void dial(std::size_t number, const Error& why);
  void on_event(const Event& event);

  Loop& loop_;
  SwarmId swarm_;
  std::deque<Question> questions_;
  std::map<ConnectionId, std::size_t> by_connection_;
  Transport transport_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace p2p::net
