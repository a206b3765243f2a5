// Who answers, and what becomes of those who do not.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "gossip/suspicion.h"
#include "tests/gossip/one_member.h"

using namespace p2p;
using namespace p2p::gossip;
using namespace p2p::gossip::test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kMembers = 12;

// Friends that answer, and say when asked that others do not; friend 0 is the one that matters.
struct Company {
  Random random{kSeed};
  OneMember one;

  explicit Company(std::size_t members = kMembers) {
    one.know(members, random);
    for (Friend& other : one.friends()) other.relays = false;
  }
  Friend& target() { return one.friend_at(0); }
  MemberStatus status() { return one.status(target().id); }
  std::uint32_t penalty() { return one.core().penalty(); }
  void probe_target() {
    one.call([&](Membership& core, Time now) { core.doubt(target().id, now); });
    one.run_for(0s);
  }
  // It does not answer two probes of ours: at the end we are its only accuser.
  void accuse_target() {
    target().answers = false;
    probe_target();
    one.run_for(2 * kProbeInterval);
    REQUIRE(status() == MemberStatus::kSuspect);
  }
  void others_accuse(std::size_t how_many) {
    for (std::size_t i = 0; i < how_many; ++i)
      one.hear(one.friend_at(1).sender(),
               Gossip{{target().news(MemberStatus::kSuspect, 1000 + i)}});
  }
  // From now until the target's status is this; at most a minute.
  Duration until(MemberStatus wanted) {
    const Time start = one.now();
    while (status() != wanted && one.now() < start + 60s) one.run_for(10ms);
    return one.now() - start;
  }
};

// That the friend asks for `target`.
Relay relay_for(const Friend& target, std::uint32_t number) {
  return {number, target.key(), target.endpoint};
}

}  // namespace

TEST_CASE("it probes a member each second, every other time the one that follows it") {
  Company company;
  OneMember& one = company.one;
  one.run_for(200s);
  std::vector<Endpoint> probed;
  for (const Sent& sent : one.sent())
    if (std::holds_alternative<Ping>(sent.what.packet)) probed.push_back(sent.what.where);
  REQUIRE(probed.size() >= 199);
  REQUIRE(probed.size() <= 201);
  const Endpoint successor = one.core().table().successor(OneMember::kId)->claim->endpoint;
  std::set<Endpoint> random;
  for (std::size_t i = 0; i < probed.size(); ++i)
    if (i % 2 == 0)
      REQUIRE(probed[i] == successor);
    else
      random.insert(probed[i]);
  REQUIRE(random.size() == kMembers);
  REQUIRE(one.core().table().live() == kMembers + 1);
  REQUIRE(one.sent_of_kind<Relay>().empty());
}

TEST_CASE("when a member does not answer, others are asked to ping it, and it is pinged again") {
  Company company;
  OneMember& one = company.one;
  company.target().answers = false;
  company.probe_target();
  const Time start = one.now();
  one.forget();
  one.run_for(kAckTimeout - Duration(1));
  REQUIRE(one.sent().empty());
  one.run_for(Duration(1));
  std::set<Endpoint> asked;
  std::size_t pings = 0;
  for (const Sent& sent : one.sent()) {
    REQUIRE(sent.at == start + kAckTimeout);
    if (const auto* relay = std::get_if<Relay>(&sent.what.packet)) {
      REQUIRE(relay->target == company.target().key());
      REQUIRE(relay->endpoint == company.target().endpoint);
      asked.insert(sent.what.where);
    } else {
      REQUIRE(sent.what.where == company.target().endpoint);
      ++pings;
    }
  }
  REQUIRE(asked.size() == kRelays);
  REQUIRE_FALSE(asked.contains(company.target().endpoint));
  REQUIRE(pings == 1);
  REQUIRE(company.status() == MemberStatus::kAlive);
  // Nor is it a suspect after that: the next probe is of it again.
  one.forget();
  one.run_for(kProbeInterval - kAckTimeout);
  REQUIRE(one.sent_to<Ping>(company.target().endpoint).size() == 1);
  one.run_for(kProbeInterval - Duration(1));
  REQUIRE(company.status() == MemberStatus::kAlive);
  one.run_for(Duration(1));
  REQUIRE(company.status() == MemberStatus::kSuspect);
  // All relays spoke: it is not our own fault.
  REQUIRE(company.penalty() == 0);
}

TEST_CASE("a member that answers the second probe is not suspected") {
  Company company;
  company.target().answers = false;
  company.probe_target();
  company.one.run_for(kProbeInterval - Duration(1));
  company.target().answers = true;
  company.one.run_for(10 * kProbeInterval);
  REQUIRE(company.status() == MemberStatus::kAlive);
  // And the first is forgotten: again it takes two.
  company.target().answers = false;
  company.probe_target();
  company.one.run_for(2 * kProbeInterval - Duration(1));
  REQUIRE(company.status() == MemberStatus::kAlive);
  company.one.run_for(Duration(1));
  REQUIRE(company.status() == MemberStatus::kSuspect);
}

TEST_CASE("a member that others suspect is accused after one probe that it does not answer") {
  Company company(2);
  company.target().answers = false;
  company.others_accuse(1);
  REQUIRE(company.status() == MemberStatus::kSuspect);
  company.one.forget();
  const auto has_accused = [&] {
    for (const Gossip& gossip : company.one.sent_of_kind<Gossip>())
      for (const News& news : gossip.news)
        if (news.id() == company.target().id && news.accuser == tag_of(OneMember::kId)) return true;
    return false;
  };
  for (int i = 0; i < 1000 && !has_accused(); ++i) company.one.run_for(10ms);
  REQUIRE(has_accused());
  // A probe is a ping, and one more when that is not answered.
  REQUIRE(company.one.sent_to<Ping>(company.target().endpoint).size() <= 3);
}

TEST_CASE("a member that answers somebody else, or late, is not suspected") {
  for (const bool by_relay : {true, false}) {
    Company company;
    OneMember& one = company.one;
    company.target().answers = false;
    company.probe_target();
    one.run_for(kAckTimeout);
    const Friend& target = company.target();
    if (by_relay) {
      const RelayAnswer answer{one.sent_of_kind<Relay>().at(0).number, true};
      one.hear(one.friend_at(1).sender(), RelayAnswer{answer.number + 1, true});
      one.hear(one.friend_at(1).sender(), answer);
    } else {
      const Ping ping = one.sent_to<Ping>(target.endpoint).at(0);
      one.hear(target.sender(), Ack{ping.number, 0, target.self(), {}, {}, {}});
    }
    company.target().answers = true;
    one.run_for(3 * kProbeInterval - kAckTimeout);
    REQUIRE(company.status() == MemberStatus::kAlive);
  }
}

TEST_CASE("answers that belong to no question change nothing") {
  Company company;
  OneMember& one = company.one;
  company.target().answers = false;
  company.probe_target();
  one.run_for(kAckTimeout);
  const Ping ping = one.sent_to<Ping>(company.target().endpoint).at(0);
  const std::uint32_t number = one.sent_of_kind<Relay>().at(0).number;
  one.hear(one.friend_at(1).sender(), RelayAnswer{number + 1, true});
  one.hear(company.target().sender(), Ack{ping.number + 1, 0, {}, {}, {}, {}});
  // Another than the one that was asked.
  one.hear(one.friend_at(1).sender(), Ack{ping.number, 0, {}, {}, {}, {}});
  one.run_for(2 * kProbeInterval - kAckTimeout);
  REQUIRE(company.status() == MemberStatus::kSuspect);
}

TEST_CASE("relays that say nothing at all speak against ourselves, and slow us down") {
  Company company;
  for (Friend& other : company.one.friends()) other.relays = std::nullopt;
  company.target().answers = false;
  company.probe_target();
  company.one.run_for(kProbeInterval);
  REQUIRE(company.penalty() == kRelays);
  // The next probe, by now begun, takes as many times as long: nobody is asked before its time.
  company.one.forget();
  company.one.run_for(kProbeInterval);
  const std::size_t probes = company.one.sent_of_kind<Ping>().size();
  REQUIRE(probes <= 1);
}

TEST_CASE("the penalty is at most kMaxPenalty, and answers make it smaller") {
  Company company;
  for (Friend& other : company.one.friends()) {
    other.relays = std::nullopt;
    other.answers = false;
  }
  company.one.run_for(60s);
  REQUIRE(company.penalty() == kMaxPenalty);
  for (Friend& other : company.one.friends()) {
    other.incarnation = 50;
    other.answers = true;
    company.one.hear(other.sender(), other.ping());
  }
  company.one.run_for(200s);
  REQUIRE(company.penalty() == 0);
}

TEST_CASE("a suspect that says nothing is dead after kSuspicionMax and a last call") {
  Company company;
  company.accuse_target();
  company.one.forget();
  const Duration took = company.until(MemberStatus::kDead);
  REQUIRE(took >= kSuspicionMax + kAckTimeout - 20ms);
  REQUIRE(took <= kSuspicionMax + kAckTimeout + 20ms);
  const auto& sent = company.one.sent();
  const auto last = std::find_if(sent.rbegin(), sent.rend(), [&](const Sent& s) {
    return s.what.where == company.target().endpoint;
  });
  REQUIRE(last != sent.rend());
  REQUIRE(std::get<Ping>(last->what.packet).you == YouAre{0, MemberStatus::kSuspect});
  REQUIRE(company.one.now() - last->at <= kAckTimeout + 20ms);
}

TEST_CASE("each further accuser makes the time shorter; the same one again does not") {
  for (const std::size_t more :
       {std::size_t{0}, std::size_t{1}, std::size_t{2}, kConfirmations, std::size_t{10}}) {
    Company company;
    company.accuse_target();
    company.others_accuse(more);
    company.others_accuse(more);
    const Duration took = company.until(MemberStatus::kDead);
    const Duration expected = suspicion_time(1 + more, kMembers + 1) + kAckTimeout;
    REQUIRE(took >= expected - 20ms);
    REQUIRE(took <= expected + 20ms);
  }
}

TEST_CASE("who is no accuser itself waits the longest, whoever accuses") {
  Company company(60);
  // It answers us, so that we do not accuse it.
  company.others_accuse(1 + kConfirmations);
  REQUIRE(company.status() == MemberStatus::kSuspect);
  company.one.run_for(kSuspicionMax - 100ms);
  REQUIRE(company.status() == MemberStatus::kSuspect);
}

TEST_CASE("a suspect that refutes when it is called lives, and is suspected no longer") {
  Company company;
  company.accuse_target();
  company.target().answers = company.target().refutes = true;
  company.one.run_for(kSuspicionMax + 2s);
  REQUIRE(company.status() == MemberStatus::kAlive);
  REQUIRE(company.one.find(company.target().id)->claim->incarnation == 1);
  company.one.run_for(60s);
  REQUIRE(company.status() == MemberStatus::kAlive);
}

TEST_CASE("accusations are told on: the first and kConfirmations more, each with its accuser") {
  Company company;
  company.accuse_target();
  const auto told = [&] {
    std::set<std::uint64_t> accusers;
    for (const Gossip& gossip : company.one.sent_of_kind<Gossip>())
      for (const News& news : gossip.news)
        if (news.id() == company.target().id && news.status == MemberStatus::kSuspect)
          accusers.insert(news.accuser);
    return accusers;
  };
  company.one.run_for(1s);
  REQUIRE(told() == std::set<std::uint64_t>{tag_of(OneMember::kId)});
  for (std::size_t i = 0; i < 10; ++i) {
    company.one.hear(company.one.friend_at(1).sender(),
                     Gossip{{company.target().news(MemberStatus::kSuspect, 1000 + i)}});
    company.one.run_for(200ms);
  }
  REQUIRE(told().size() == 1 + kConfirmations);
}

TEST_CASE("a process that did not get to run blames nobody") {
  Company company;
  OneMember& one = company.one;
  for (Friend& other : one.friends()) other.answers = false;
  company.probe_target();
  one.stall(kAckTimeout + kLate + 1ms);
  one.run_for(0s);
  REQUIRE(company.penalty() == 1);
  REQUIRE(one.sent_of_kind<Relay>().empty());
  for (const Friend& other : one.friends()) REQUIRE(one.status(other.id) == MemberStatus::kAlive);

  // A little late is nothing.
  Company punctual;
  punctual.target().answers = false;
  punctual.probe_target();
  punctual.one.stall(kAckTimeout + kLate - 1ms);
  punctual.one.run_for(0s);
  REQUIRE(punctual.penalty() == 0);
  REQUIRE(punctual.one.sent_of_kind<Relay>().size() == kRelays);
}

TEST_CASE("a suspect has its whole time of that in which we run") {
  Company company;
  company.accuse_target();
  company.others_accuse(kConfirmations);
  company.one.stall(60s);
  const Duration took = company.until(MemberStatus::kDead);
  REQUIRE(took >= kSuspicionMin - kProbeInterval);
  REQUIRE(took <= kSuspicionMin + kAckTimeout + kProbeInterval);
}

TEST_CASE("it pings for another, and says whether it was answered") {
  Company company;
  OneMember& one = company.one;
  const Friend& asker = one.friend_at(1);
  company.target().answers = false;
  one.hear(asker.sender(), relay_for(company.target(), 70));
  const auto pings = one.sent_to<Ping>(company.target().endpoint);
  REQUIRE(pings.size() == 1);
  one.forget();
  one.hear(company.target().sender(), Ack{pings[0].number, 0, company.target().self(), {}, {}, {}});
  auto answers = one.sent_to<RelayAnswer>(asker.endpoint);
  REQUIRE(answers.size() == 1);
  REQUIRE(answers[0].number == 70);
  REQUIRE(answers[0].answered);

  one.forget();
  one.hear(asker.sender(), relay_for(company.target(), 71));
  one.run_for(kRelayTimeout - Duration(1));
  REQUIRE(one.sent_to<RelayAnswer>(asker.endpoint).empty());
  one.run_for(Duration(1));
  answers = one.sent_to<RelayAnswer>(asker.endpoint);
  REQUIRE(answers.size() == 1);
  REQUIRE(answers[0].number == 71);
  REQUIRE_FALSE(answers[0].answered);
  // One lost packet does not make a suspect.
  REQUIRE(company.status() == MemberStatus::kAlive);
}

TEST_CASE("it pings for others no more than kMaxRelayJobs at a time") {
  Company company;
  OneMember& one = company.one;
  const Friend& asker = one.friend_at(1);
  company.target().answers = false;
  for (int round = 0; round < 3; ++round) {
    one.forget();
    for (std::uint32_t i = 0; i < 1000; ++i)
      one.hear(asker.sender(), relay_for(company.target(), i));
    REQUIRE(one.sent_to<Ping>(company.target().endpoint).size() == kMaxRelayJobs);
    one.forget();
    one.run_for(kRelayTimeout);
    REQUIRE(one.sent_to<RelayAnswer>(asker.endpoint).size() == kMaxRelayJobs);
  }
}

TEST_CASE("it does not ping itself for another") {
  Company company;
  Friend itself;
  itself.id = OneMember::kId;
  itself.endpoint = OneMember::kEndpoint;
  company.one.hear(company.one.friend_at(1).sender(), relay_for(itself, 1));
  REQUIRE(company.one.sent().empty());
}

TEST_CASE("who found it silent for another accuses it too when it is suspected") {
  for (const bool in_time : {true, false}) {
    Company company(60);
    OneMember& one = company.one;
    company.target().answers = false;
    one.hear(one.friend_at(1).sender(), relay_for(company.target(), 1));
    one.run_for(kRelayTimeout);
    company.target().answers = true;
    one.run_for(in_time ? 1s : kSuspicionMin + 1s);
    one.forget();
    company.others_accuse(1);
    one.run_for(100ms);
    bool accused = false;
    for (const Gossip& gossip : one.sent_of_kind<Gossip>())
      for (const News& news : gossip.news) accused |= news.accuser == tag_of(OneMember::kId);
    REQUIRE(accused == in_time);
  }
}

TEST_CASE("one who is doubted is probed at once; not itself, nor who is unknown or suspected") {
  Company company;
  OneMember& one = company.one;
  one.run_for(100ms);
  one.forget();
  company.probe_target();
  REQUIRE(one.sent_to<Ping>(company.target().endpoint).size() == 1);
  one.forget();
  one.call([&](Membership& core, Time now) {
    core.doubt(OneMember::kId, now);
    core.doubt(id_of(0x77), now);
  });
  one.run_for(0s);
  REQUIRE(one.sent().empty());
  company.others_accuse(1);
  company.probe_target();
  REQUIRE(one.sent_to<Ping>(company.target().endpoint).empty());
}

TEST_CASE("one that is asked for is reached when it answers, and neither blamed nor praised") {
  Company company;
  OneMember& one = company.one;
  const auto reach = [&](const PeerId& id) {
    one.call([&](Membership& core, Time now) { core.reach(id, now); });
  };
  reach(company.target().id);
  REQUIRE(one.reached().size() == 1);
  REQUIRE(one.reached()[0].id == company.target().id);
  company.target().answers = false;
  reach(company.target().id);
  reach(id_of(0x77));
  reach(OneMember::kId);
  REQUIRE(one.reached().size() == 1);
  REQUIRE(one.sent_of_kind<Ping>().size() == 2);
}

TEST_CASE("with nobody else there is nobody to probe, and of two one judges alone") {
  OneMember alone;
  alone.run_for(60s);
  REQUIRE(alone.sent().empty());

  Company company(1);
  company.target().answers = false;
  company.one.run_for(10s);
  REQUIRE(company.status() == MemberStatus::kDead);
}
