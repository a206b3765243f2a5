#include "net/lookup_client.h"

#include <algorithm>
#include <utility>

namespace p2p::net {
namespace {

TransportConfig short_questions() {
  TransportConfig config;
  config.lanes = 0;
  config.short_messages = true;
  return config;
}

}  // namespace

LookupClient::LookupClient(Loop& loop, const SwarmId& swarm)
    : loop_(loop),
      swarm_(swarm),
      transport_(loop, short_questions(), [this](const Event& event) { on_event(event); }) {}

std::size_t LookupClient::ask(const OwnerAddress& owner) {
  const std::size_t number = questions_.size();
  questions_.push_back({owner, {}, std::nullopt});
  loop_.resolve(owner.where, [this, number, alive = std::weak_ptr<bool>(alive_)](
                                 Result<std::vector<Endpoint>> found) {
    if (alive.expired()) return;
    if (!found) return dial(number, found.error());
    questions_[number].places = *found;
    std::reverse(questions_[number].places.begin(), questions_[number].places.end());
    dial(number, Error{ErrorCode::kUnreachable, "it has no address"});
  });
  return number;
}

// The next place; where there is none, that is why.
void LookupClient::dial(std::size_t number, const Error& why) {
  Question& question = questions_[number];
  if (question.answer) return;
  if (question.places.empty()) {
    question.answer.emplace(why);
    return;
  }
  by_connection_[transport_.dial(question.places.back(), question.owner.psk)] = number;
  question.places.pop_back();
}

void LookupClient::on_event(const Event& event) {
  const auto found = by_connection_.find(event.connection);
  if (found == by_connection_.end()) return;
  const std::size_t number = found->second;
  if (std::holds_alternative<Opened>(event.what)) {
    transport_.send(event.connection,
                    tracker::Message(tracker::Lookup{swarm_, kMaxPeersInMessage}));
  } else if (const auto* closed = std::get_if<Closed>(&event.what)) {
    by_connection_.erase(found);
    dial(number, closed->why);
  } else if (const auto* received = std::get_if<Received>(&event.what)) {
    const auto* message = std::get_if<tracker::Message>(&received->message);
    if (!message || questions_[number].answer) return;
    if (const auto* handout = std::get_if<tracker::Handout>(message))
      questions_[number].answer.emplace(handout->peers);
    else if (const auto* refusal = std::get_if<tracker::Refusal>(message))
      questions_[number].answer.emplace(Error{ErrorCode::kRefused, "it says: " + refusal->text});
    transport_.close(event.connection);
  }
}

}  // namespace p2p::net
