// Tape: what one swarm of a world was made of and told, and a hash of what it did. Any swarm that
// is made of the same and told the same must do the same; so the core alone can be measured, with
// the input of a peer in the middle of a cluster.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "peer/swarm.h"

namespace p2p::sim {

// Of the actions it is given, in their order. Compares within a process only.
class ActionHash {
 public:
  void operator()(const peer::SwarmAction& action);
  bool operator==(const ActionHash&) const = default;

 private:
  std::size_t value_ = 0;
};

class Tape {
 public:
  using Make = std::function<std::unique_ptr<peer::Swarm>()>;
  using Input = std::function<void(peer::Swarm&)>;

  // To be given to a World, which records this host; of several lives the last.
  explicit Tape(std::uint32_t host) : host_(host) {}

  std::uint32_t host() const { return host_; }
  void start(Make make) {
    *this = Tape(host_);
    make_ = std::move(make);
  }
  void add(Input input) { inputs_.push_back(std::move(input)); }
  void note(const peer::SwarmAction& action) {
    done_(action);
    played_ = inputs_.size();
  }

  // Up to the last that it did something after: of what it is told as it leaves nothing comes.
  std::size_t inputs() const { return played_; }
  const ActionHash& done() const { return done_; }
  std::unique_ptr<peer::Swarm> make() const { return make_(); }
  // Tells a swarm fresh from make() all of it; what it does goes to `act`.
  template <typename Act>
  void play(peer::Swarm& swarm, Act&& act) const {
    for (std::size_t i = 0; i < played_; ++i) {
      inputs_[i](swarm);
      while (const auto action = swarm.poll_action()) act(*action);
    }
  }

 private:
  std::uint32_t host_;
  Make make_;
  std::vector<Input> inputs_;
  std::size_t played_ = 0;
  ActionHash done_;
};

}  // namespace p2p::sim
