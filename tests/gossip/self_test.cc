// What a member makes of what is said about itself: it refutes, gives way to a later life, leaves.
#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>

#include "tests/gossip/one_member.h"

using namespace p2p;
using namespace p2p::gossip;
using namespace p2p::gossip::test;
using namespace std::chrono_literals;

namespace {

// The member itself, as others speak of it.
News myself(Incarnation incarnation, MemberStatus status, std::uint64_t epoch = kEpoch) {
  auto claim = std::make_shared<Claim>(*claim_of(OneMember::kId, epoch, incarnation));
  claim->endpoint = OneMember::kEndpoint;
  return {claim, status, 1};
}

// Whom it knows, and hears all from.
struct Company {
  Random random{kSeed};
  OneMember one;
  explicit Company(std::size_t members = 5) { one.know(members, random); }
  void hear(const Packet& packet) { one.hear(one.friend_at(0).sender(), packet); }
  Incarnation incarnation() { return one.core().self().incarnation; }
  // The last that it told of itself.
  std::optional<News> told() {
    std::optional<News> last;
    for (const Gossip& gossip : one.sent_of_kind<Gossip>())
      for (const News& news : gossip.news)
        if (news.id() == OneMember::kId) last = news;
    return last;
  }
};

}  // namespace

TEST_CASE("who is suspected or thought dead says that it lives, by a higher incarnation") {
  const auto suspecting = [](MemberStatus status) {
    return Company().one.friend_at(0).ping({3, status});
  };
  for (const MemberStatus status :
       {MemberStatus::kSuspect, MemberStatus::kDead, MemberStatus::kLeft})
    for (const Packet& packet :
         {Packet(Gossip{{myself(3, status)}}), Packet(Records{{myself(3, status)}}),
          Packet(suspecting(status))}) {
      Company company;
      company.hear(packet);
      REQUIRE(company.incarnation() == 4);
      REQUIRE(company.one.status(OneMember::kId) == MemberStatus::kAlive);
      REQUIRE(company.one.core().penalty() == 1);
      if (std::holds_alternative<Ping>(packet)) {
        const auto acks = company.one.sent_of_kind<Ack>();
        REQUIRE(acks.size() == 1);
        REQUIRE(acks[0].self.incarnation == 4);
      }
      company.one.run_for(1s);
      REQUIRE(company.told());
      REQUIRE(company.told()->claim->incarnation == 4);
      REQUIRE(company.told()->status == MemberStatus::kAlive);
    }
}

TEST_CASE("an Ack that says that it is suspected is refuted too") {
  Company company;
  Friend& other = company.one.friend_at(0);
  other.answers = false;
  company.one.call([&](Membership& core, Time now) { core.doubt(other.id, now); });
  company.one.run_for(0s);
  const auto pings = company.one.sent_to<Ping>(other.endpoint);
  REQUIRE(pings.size() == 1);
  const YouAre suspect{0, MemberStatus::kSuspect};
  company.hear(Ack{pings[0].number + 1, 0, other.self(), suspect, {}, {}});
  REQUIRE(company.incarnation() == 0);  // it answers no ping
  company.hear(Ack{pings[0].number, 0, other.self(), suspect, {}, {}});
  REQUIRE(company.incarnation() == 1);
}

TEST_CASE("what is old or right is not refuted") {
  Company company;
  company.hear(Gossip{{myself(5, MemberStatus::kSuspect)}});
  REQUIRE(company.incarnation() == 6);
  company.hear(Gossip{{myself(5, MemberStatus::kDead)}});
  company.hear(Gossip{{myself(6, MemberStatus::kAlive)}});
  company.hear(Gossip{{myself(9, MemberStatus::kDead, kEpoch - 1)}});
  REQUIRE(company.incarnation() == 6);
  // A higher one of ours, from before we forgot it, is passed.
  company.hear(Gossip{{myself(7, MemberStatus::kAlive)}});
  REQUIRE(company.incarnation() == 8);
  REQUIRE(company.one.superseded().empty());
}

TEST_CASE("another life of the member that began later is reported, an earlier one is not") {
  const auto reported = [](const std::function<void(Company&)>& happens) {
    Company company;
    happens(company);
    REQUIRE(company.one.superseded().size() <= 1);
    REQUIRE(company.incarnation() == 0);
    return company.one.superseded().empty() ? 0 : company.one.superseded()[0].epoch;
  };
  const auto from_self = [](std::uint64_t epoch, bool greeting) {
    return [=](Company& company) {
      const Sender sender{address(7), OneMember::kId, epoch, greeting};
      company.one.hear(sender, greeting ? Packet(Greet{1}) : Packet(Ping{}));
      REQUIRE(company.one.sent().empty());
    };
  };
  REQUIRE(reported([](Company& company) {
            company.hear(Gossip{{myself(0, MemberStatus::kAlive, kEpoch + 1)}});
          }) == kEpoch + 1);
  REQUIRE(reported([](Company& company) {
            company.hear(Records{{myself(0, MemberStatus::kDead, kEpoch + 9)}});
          }) == kEpoch + 9);
  REQUIRE(reported([](Company& company) {
            company.hear(Gossip{{myself(0, MemberStatus::kAlive, kEpoch - 1)}});
          }) == 0);
  REQUIRE(reported(from_self(kEpoch + 1, false)) == kEpoch + 1);
  REQUIRE(reported(from_self(kEpoch - 1, false)) == 0);
  REQUIRE(reported(from_self(kEpoch, false)) == 0);
  // A greeting may be a recorded one, but of an earlier epoch.
  REQUIRE(reported(from_self(kEpoch - 1, true)) == 0);
  REQUIRE(reported(from_self(kEpoch + 1, true)) == kEpoch + 1);
}

TEST_CASE("above kMaxIncarnation there is nothing: another life must begin") {
  Company company;
  company.hear(Gossip{{myself(kMaxIncarnation - 1, MemberStatus::kSuspect)}});
  REQUIRE(company.incarnation() == kMaxIncarnation);
  REQUIRE(company.one.superseded().empty());
  company.hear(Gossip{{myself(kMaxIncarnation, MemberStatus::kSuspect)}});
  REQUIRE(company.incarnation() == kMaxIncarnation);
  REQUIRE(company.one.superseded().size() == 1);
  REQUIRE(company.one.superseded()[0].epoch == kEpoch);
}

TEST_CASE("a changed port or address is a new claim, and told; the same again is not") {
  Company company;
  company.one.call([](Membership& core, Time now) { core.set_service_port(7001, now); });
  REQUIRE(company.incarnation() == 1);
  company.one.call([](Membership& core, Time now) { core.set_service_port(7001, now); });
  company.one.call(
      [](Membership& core, Time now) { core.set_endpoint(OneMember::kEndpoint, now); });
  company.one.call([](Membership& core, Time now) { core.set_endpoint({}, now); });
  REQUIRE(company.incarnation() == 1);
  company.one.call([](Membership& core, Time now) { core.set_endpoint(address(2), now); });
  REQUIRE(company.incarnation() == 2);
  company.one.run_for(1s);
  REQUIRE(company.told());
  REQUIRE(*company.told()->claim == company.one.core().self());
  REQUIRE(company.one.core().self().service_port == 7001);
  REQUIRE(company.one.core().self().endpoint == address(2));
}

TEST_CASE("one that leaves says so for kLeaving and is gone") {
  Company company;
  OneMember& one = company.one;
  one.call([](Membership& core, Time now) { core.leave(now); });
  REQUIRE_FALSE(one.core().left());
  one.run_for(kLeaving - Duration(1));
  REQUIRE_FALSE(one.core().left());
  REQUIRE(company.told());
  REQUIRE(company.told()->status == MemberStatus::kLeft);
  one.run_for(Duration(1));
  REQUIRE(one.core().left());
  REQUIRE(one.core().next_timeout() == kNever);
  one.forget();
  company.hear(Ping{1, false, {}, {0, MemberStatus::kSuspect}, {}, {}});
  one.call([](Membership& core, Time now) { core.set_service_port(9, now); });
  one.run_for(100s);
  REQUIRE(one.sent().empty());
}

TEST_CASE("one that leaves while it is alone is gone at once") {
  OneMember one;
  one.call([](Membership& core, Time now) { core.leave(now); });
  REQUIRE(one.core().left());
  REQUIRE(one.sent().empty());
}

TEST_CASE("nothing brings back one that is about to leave") {
  Company company;
  OneMember& one = company.one;
  one.call([](Membership& core, Time now) { core.leave(now); });
  one.run_for(100ms);
  company.hear(Gossip{{myself(0, MemberStatus::kDead)}});
  company.hear(Gossip{{myself(7, MemberStatus::kAlive)}});
  one.call([](Membership& core, Time now) { core.set_service_port(9, now); });
  one.call([](Membership& core, Time now) { core.set_endpoint(address(9), now); });
  REQUIRE(company.incarnation() == 0);
  REQUIRE(one.status(OneMember::kId) == MemberStatus::kLeft);
  // Nor what it answers.
  one.forget();
  company.hear(one.friend_at(0).ping());
  const auto acks = one.sent_of_kind<Ack>();
  REQUIRE(acks.size() == 1);
  REQUIRE(acks[0].self.incarnation == 0);
  one.run_for(kLeaving);
  REQUIRE(one.core().left());
}

TEST_CASE("one that leaves probes and greets nobody any more") {
  Company company;
  company.one.call([](Membership& core, Time now) { core.set_seeds({address(9)}, now); });
  company.one.call([](Membership& core, Time now) { core.leave(now); });
  company.one.run_for(kLeaving);
  REQUIRE(company.one.sent_of_kind<Ping>().empty());
  REQUIRE(company.one.sent_of_kind<Greet>().empty());
}

TEST_CASE("who hears first-hand of a later life elsewhere tells the earlier one, where it was") {
  Random random(kSeed);
  OneMember one;
  one.know(3, random);
  const Friend earlier = one.friend_at(0);
  Friend later = earlier;
  later.epoch = earlier.epoch + 1;
  const auto told = [&](const Friend& now) {
    one.forget();
    one.hear(now.sender(), now.ping());
    const auto gossip = one.sent_to<Gossip>(earlier.endpoint);
    REQUIRE(gossip.size() <= 1);
    for (const Sent& sent : one.sent())
      if (std::holds_alternative<Gossip>(sent.what.packet)) REQUIRE(sent.what.to == earlier.key());
    return gossip.empty() ? ClaimPtr() : gossip[0].news.at(0).claim;
  };
  SECTION("at another address") {
    later.endpoint = address(999);
    const ClaimPtr claim = told(later);
    REQUIRE(claim);
    REQUIRE(*claim == *later.claim());
    // Once.
    REQUIRE_FALSE(told(later));
  }
  SECTION("not at the same address: there is room for one") { REQUIRE_FALSE(told(later)); }
  SECTION("not one that left") {
    one.hear(one.friend_at(1).sender(), Gossip{{earlier.news(MemberStatus::kLeft)}});
    later.endpoint = address(999);
    REQUIRE_FALSE(told(later));
  }
}

TEST_CASE("an address of one host only is not taken for a better one") {
  MembershipConfig config = OneMember::config_at(OneMember::kEndpoint);
  config.endpoint_is_guess = true;
  OneMember one(config);
  Random random(kSeed);
  one.know(2, random);
  const Endpoint loopback = *Endpoint::parse("127.0.0.1:7946");
  for (int i = 0; i < 3; ++i)
    for (const std::size_t witness : {0, 1}) {
      Ping ping = one.friend_at(witness).ping();
      ping.seen = loopback;
      one.hear(one.friend_at(witness).sender(), ping);
    }
  REQUIRE(one.core().self().endpoint == OneMember::kEndpoint);
}
