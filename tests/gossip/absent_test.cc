// Who looks on asks who is not alive, and learns it page by page.
#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>

#include "gossip/membership.h"
#include "tests/gossip/support.h"

using namespace p2p;
using namespace p2p::gossip;
using namespace p2p::gossip::test;

namespace {

// Members that all know each other and an observer, on a network where packets take no time, in
// virtual time.
class Company {
 public:
  explicit Company(std::size_t count) {
    Random random(kSeed);
    for (std::size_t i = 0; i < count; ++i) add(random, false);
    std::vector<ClaimPtr> claims;
    for (const auto& one : ones_) claims.push_back(std::make_shared<Claim>(one.self()));
    for (auto& one : ones_) one.adopt(claims, now_);
    add(random, true);
    observer().set_seeds({at(0).self().endpoint}, now_);
  }

  Membership& at(std::size_t place) { return ones_[place]; }
  Membership& observer() { return ones_.back(); }
  void silence(std::size_t place) { silent_.push_back(at(place).self().endpoint); }
  void lose_next(std::size_t packets) { to_lose_ = packets; }
  // Those in whose table it is a member that died, or left, so long ago.
  void bury(const std::vector<std::size_t>& places, const ClaimPtr& claim, MemberStatus status) {
    for (const std::size_t place : places)
      at(place).on_packet(
          {at((place + 1) % (ones_.size() - 1)).self().endpoint, id_of(0xee), kEpoch},
          Gossip{{{claim, status, 0}}}, now_);
  }

  // Until something is true; false after so long.
  template <typename Done>
  bool run(Duration patience, Done done) {
    for (const Time end = now_ + patience; now_ <= end; now_ += std::chrono::milliseconds(1)) {
      for (auto& one : ones_)
        if (one.next_timeout() <= now_) one.on_timeout(now_);
      deliver();
      if (done()) return true;
    }
    return false;
  }
  void pass(Duration time) {
    run(time, [] { return false; });
  }
  bool meet() {
    return run(std::chrono::seconds(5), [&] { return observer().in_step(); });
  }
  // The members that answered.
  std::optional<std::size_t> ask() {
    answers_.reset();
    observer().ask_absent(now_);
    run(std::chrono::seconds(20), [&] { return answers_.has_value(); });
    return answers_;
  }
  std::size_t pages() const { return pages_; }
  Time now() const { return now_; }

 private:
  void add(Random& random, bool observer) {
    MembershipConfig config;
    config.id = random_id(random);
    config.epoch = kEpoch + ones_.size();
    config.endpoint = address(static_cast<std::uint32_t>(ones_.size() + 1));
    config.observer = observer;
    ones_.emplace_back(config, random.fork("one"), now_);
  }
  void deliver() {
    for (bool more = true; more;) {
      more = false;
      for (std::size_t i = 0; i < ones_.size(); ++i)
        while (auto action = ones_[i].poll_action()) {
          more = true;
          act(ones_[i], *action);
        }
    }
  }
  void act(Membership& from, const MembershipAction& action) {
    if (const auto* known = std::get_if<AbsentKnown>(&action)) answers_ = known->answers;
    const auto* sent = std::get_if<SendPacket>(&action);
    if (!sent) return;
    REQUIRE(encode_packet(sent->packet).size() <= kMaxPacketBytes);
    const bool is_page = std::holds_alternative<Absent>(sent->packet);
    pages_ += is_page;
    if (is_page && to_lose_ > 0) {
      --to_lose_;
      return;
    }
    const auto is_silent = [&](const Endpoint& where) {
      return std::find(silent_.begin(), silent_.end(), where) != silent_.end();
    };
    const Claim& self = from.self();
    if (is_silent(sent->where) || is_silent(self.endpoint)) return;
    for (Membership& to : ones_)
      if (to.self().endpoint == sent->where &&
          (!sent->to || *sent->to == MemberKey{to.self().id, to.self().epoch}))
        to.on_packet({self.endpoint, self.id, self.epoch, !sent->to}, sent->packet, now_);
  }

  Time now_{std::chrono::hours(100)};
  std::deque<Membership> ones_;
  std::vector<Endpoint> silent_;
  std::size_t to_lose_ = 0, pages_ = 0;
  std::optional<std::size_t> answers_;
};

MemberStatus status_in(const Membership& view, const PeerId& id) {
  const auto* member = view.table().find(id);
  REQUIRE(member);
  return member->status;
}

}  // namespace

TEST_CASE("an observer learns who is dead or has left, and since when") {
  Company company(5);
  const ClaimPtr dead = claim_of(id_of(0x11)), left = claim_of(id_of(0x99));
  company.bury({0, 1, 2, 3, 4}, dead, MemberStatus::kDead);
  company.pass(std::chrono::seconds(60));
  company.bury({0, 1, 2, 3, 4}, left, MemberStatus::kLeft);
  company.pass(std::chrono::seconds(30));
  REQUIRE(company.meet());
  REQUIRE_FALSE(company.observer().table().find(dead->id));
  REQUIRE(company.ask() == kAskedForAbsent);
  const Membership& observer = company.observer();
  REQUIRE(status_in(observer, dead->id) == MemberStatus::kDead);
  REQUIRE(status_in(observer, left->id) == MemberStatus::kLeft);
  REQUIRE(observer.table().live() == 5);
  const auto age = [&](const ClaimPtr& claim) {
    return to_seconds(company.now() - observer.table().find(claim->id)->since);
  };
  REQUIRE(age(dead) == Approx(90).margin(2));
  REQUIRE(age(left) == Approx(30).margin(2));
}

TEST_CASE(
    "what only one of the three that run longest knows is learned too, and no observer tells") {
  Company company(6);
  const ClaimPtr old = claim_of(id_of(0x42)), unheard = claim_of(id_of(0x43));
  for (auto& [place, claim] : {std::pair{2u, old}, std::pair{5u, unheard}})
    company.at(place).on_packet({address(99), id_of(0xee), kEpoch},
                                Records{{{claim, MemberStatus::kDead, 0}}}, company.now());
  REQUIRE(company.meet());
  REQUIRE(company.ask() == kAskedForAbsent);
  REQUIRE(status_in(company.observer(), old->id) == MemberStatus::kDead);
  // The sixth is younger than those that are asked.
  REQUIRE_FALSE(company.observer().table().find(unheard->id));
}

TEST_CASE("hundreds who are gone come in pages, also where pages are lost") {
  const std::size_t lost = GENERATE(0u, 2u);
  Company company(3);
  Random random = Random(kSeed).fork("those who are gone");
  std::vector<News> gone;
  for (int i = 0; i < 400; ++i)
    gone.push_back({claim_of(random_id(random)), MemberStatus::kDead, 0});
  for (std::size_t place = 0; place < 3; ++place)
    for (const News& news : gone)
      company.at(place).on_packet({address(99), id_of(0xee), kEpoch}, Records{{news}},
                                  company.now());
  REQUIRE(company.meet());
  company.lose_next(lost);
  REQUIRE(company.ask() == 3);
  REQUIRE(company.observer().table().dead() == 400);
  REQUIRE(company.pages() > 3 * 400 / kMaxNewsInPacket);
}

TEST_CASE("members that do not answer are passed over for others, and none is said to be none") {
  Company company(5);
  const ClaimPtr dead = claim_of(id_of(0x11));
  company.bury({0, 1, 2, 3, 4}, dead, MemberStatus::kDead);
  company.pass(std::chrono::seconds(2));
  REQUIRE(company.meet());
  company.silence(0);
  company.silence(1);
  REQUIRE(company.ask() == 3);
  REQUIRE(status_in(company.observer(), dead->id) == MemberStatus::kDead);
  for (const std::size_t place : {2, 3, 4}) company.silence(place);
  REQUIRE(company.ask() == 0);
}

TEST_CASE("who has not shown where it is gets no list, and what nobody asked for is not believed") {
  Company company(3);
  REQUIRE(company.meet());
  Membership& member = company.at(0);
  while (member.poll_action()) {
  }
  member.on_packet({address(77), id_of(0x77), kEpoch}, AskAbsent{1, 0, 0}, company.now());
  member.on_packet({address(77), id_of(0x77), kEpoch}, AskAbsent{1, 12345, 0}, company.now());
  REQUIRE_FALSE(member.poll_action());
  const Claim& known = company.at(1).self();
  company.observer().on_packet(
      {member.self().endpoint, member.self().id, member.self().epoch},
      Absent{0, false, {{{std::make_shared<Claim>(known), MemberStatus::kDead, 0}, 1}}},
      company.now());
  REQUIRE(status_in(company.observer(), known.id) == MemberStatus::kAlive);
}
