// How two whose views differ make them equal, who is let do it, and what it may cost.
#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tests/gossip/sync_support.h"

using namespace p2p;
using namespace p2p::gossip;
using namespace p2p::gossip::test;
using namespace std::chrono_literals;

namespace {

// Two cores that hear each other at once; whatever is for others is lost.
struct Two {
  Time now{100s};
  Membership a, b;
  bool b_only_asks = true;

  static bool asks(const Packet& packet) {
    return std::holds_alternative<Ping>(packet) || std::holds_alternative<Digests>(packet) ||
           std::holds_alternative<Want>(packet);
  }
  Two()
      : a(OneMember::config_at(address(1), id_of(1)), Random(1), now),
        b(OneMember::config_at(address(2), id_of(2)), Random(2), now) {}
  // The second is an observer that knows this of its address.
  explicit Two(const Endpoint& observer)
      : a(OneMember::config_at(address(1), id_of(1)), Random(1), now),
        b(observer_at(observer), Random(2), now) {}

  static MembershipConfig observer_at(const Endpoint& endpoint) {
    MembershipConfig config = OneMember::config_at(endpoint, id_of(2));
    config.observer = true;
    config.service_port = 0;
    return config;
  }
  void run_for(Duration duration) {
    const Time end = now + duration;
    for (;;) {
      exchange();
      const Time next = std::min(a.next_timeout(), b.next_timeout());
      if (next > end) break;
      now = std::max(now, next);
      for (Membership* core : {&a, &b})
        if (core->next_timeout() <= now) core->on_timeout(now);
    }
    now = end;
  }
  // Where it is, whether it knows or not.
  static Endpoint at(const Membership& core) {
    return core.self().endpoint.is_dialable() ? core.self().endpoint : address(2);
  }
  void exchange() {
    for (bool quiet = false; !quiet;) {
      quiet = true;
      for (Membership* core : {&a, &b})
        while (auto action = core->poll_action()) {
          quiet = false;
          const auto* packet = std::get_if<SendPacket>(&*action);
          REQUIRE(packet);
          b_only_asks &= core == &a || !packet->to || asks(packet->packet);
          Membership& other = core == &a ? b : a;
          if (packet->where != at(other)) continue;
          other.on_packet({at(*core), core->self().id, kEpoch, !packet->to}, packet->packet, now);
        }
    }
  }
};

}  // namespace

TEST_CASE("whoever is not known to be where it seems to be gets no more than it sent") {
  Random random(kSeed);
  for (const bool six : {false, true})
    for (const std::size_t members : {std::size_t{1}, std::size_t{40}, std::size_t{300}}) {
      OneMember one(OneMember::config_at(six ? address6(1) : OneMember::kEndpoint));
      one.know(members, random);
      one.call([](Membership& core, Time now) { core.set_seeds({address(9)}, now); });
      std::size_t answered = 0;
      for (int i = 0; i < 4000; ++i) {
        // A stranger, or a member that seems to be elsewhere, or one that is not proven yet.
        Friend from = make_friend(random, 5000);
        if (random.chance(0.3)) from.endpoint = address6(5000);
        if (random.chance(0.5)) from.id = one.friend_at(random.below(members)).id;
        const std::size_t kind = random.below(kKinds);
        Packet packet = random_packet(kind, random);
        // A Relay has its ping sent elsewhere.
        if (auto* relay = std::get_if<Relay>(&packet)) relay->endpoint = address(7000);
        one.forget();
        one.hear({from.endpoint, from.id, from.epoch, kind == 4}, packet);
        const std::size_t bytes = bytes_of(one.sent(), from.endpoint);
        INFO(kind_name(kind));
        REQUIRE(bytes <= encoded_bytes(packet));
        answered += bytes > 0;
      }
      REQUIRE(answered > 100);
    }
}

TEST_CASE("an answer from elsewhere than was asked gets no more than it sent") {
  Random random(kSeed);
  OneMember one;
  one.know(20, random);
  for (Friend& other : one.friends()) other.answers = false;
  // It hears of another view, so that it wants to synchronise.
  one.hear(one.friend_at(0).sender(), one.friend_at(0).ping());
  one.run_for(5s);
  std::size_t asked = 0;
  for (const Sent& sent : std::vector<Sent>(one.sent())) {
    const auto* ping = std::get_if<Ping>(&sent.what.packet);
    if (!ping) continue;
    ++asked;
    const auto who = std::find_if(one.friends().begin(), one.friends().end(),
                                  [&](const Friend& f) { return f.id == sent.what.to->id; });
    Sender sender = who->sender();
    sender.from = address(9999);
    const Ack ack{ping->number, 0x80000000, who->self(), {}, {}, {1, 1}};
    one.forget();
    one.hear(sender, ack);
    REQUIRE(bytes_of(one.sent(), sender.from) <= encoded_bytes(ack));
  }
  REQUIRE(asked > 3);
}

TEST_CASE("who names the challenge that was sent to its place is given what it lacks") {
  Random random(kSeed);
  OneMember one;
  one.know(100, random);
  Friend other = make_friend(random, 500);
  const std::uint32_t challenge = challenge_for(one, other);
  REQUIRE(challenge != 0);
  const MemberTable nothing;
  for (const std::uint32_t wrong : {0u, challenge + 1, 1u}) {
    one.hear(other.sender(), digests_of(nothing, wrong));
    REQUIRE(one.sent().empty());
  }
  // Named by another, or from another place.
  const Friend third = make_friend(random, 501);
  one.hear(third.sender(), digests_of(nothing, challenge));
  Sender elsewhere = other.sender();
  elsewhere.from = address(502);
  one.hear(elsewhere, digests_of(nothing, challenge));
  REQUIRE(one.sent().empty());

  one.hear(other.sender(), digests_of(nothing, challenge));
  std::set<PeerId> given;
  for (const Records& records : one.sent_to<Records>(other.endpoint))
    for (const News& news : records.records) given.insert(news.id());
  REQUIRE(given.size() > 80);
  // From now on it is known to be there.
  REQUIRE(challenge_for(one, other) == 0);
}

TEST_CASE("one who answered a ping where it says it is has proven it") {
  Random random(kSeed);
  OneMember one;
  one.know(100, random);
  const Friend& other = one.friend_at(3);
  REQUIRE(challenge_for(one, other) != 0);
  one.call([&](Membership& core, Time now) { core.reach(other.id, now); });
  REQUIRE(challenge_for(one, other) == 0);
  one.hear(other.sender(), digests_of(MemberTable(), 0));
  REQUIRE_FALSE(one.sent_to<Records>(other.endpoint).empty());
}

TEST_CASE("what is asked again and again costs no more than kSyncBytesPerSecond") {
  Random random(kSeed);
  OneMember one;
  one.know(2000, random);
  Friend other = make_friend(random, 90'000);
  const std::uint32_t challenge = challenge_for(one, other);
  Want want{1, {}};
  for (std::size_t i = 0; i < 150; ++i) add_mark(want, one.friend_at(i).id);
  const Time start = one.now();
  for (int i = 0; i < 200; ++i) {
    one.hear(other.sender(), digests_of(MemberTable(), challenge));
    one.hear(other.sender(), want);
    one.run_for(10ms);
  }
  std::size_t bytes = 0;
  for (const Sent& sent : one.sent())
    if (sent.what.where == other.endpoint)
      bytes += encoded_bytes(sent.what.packet) + kDatagramBytes;
  const double most = kSyncBytesPerSecond * (to_seconds(one.now() - start) + 0.25);
  REQUIRE(static_cast<double>(bytes) <= most + kMaxPacketBytes);
  REQUIRE(static_cast<double>(bytes) >= 0.8 * most);
}

TEST_CASE("one that is flooded with greetings synchronises all the same") {
  Random random(kSeed);
  OneMember one;
  one.know(200, random);
  for (Friend& other : one.friends()) other.answers = false;
  std::size_t welcomes = 0, digests = 0;
  for (int i = 0; i < 2000; ++i) {
    one.forget();
    one.hear({address(90'000), id_of(9), kEpoch, true}, Greet{static_cast<std::uint32_t>(i)});
    one.hear(one.friend_at(0).sender(), one.friend_at(0).ping());  // of another view
    one.run_for(1ms);
    const std::vector<Sent> sent = one.sent();
    for (const Sent& s : sent) {
      const auto* ping = std::get_if<Ping>(&s.what.packet);
      if (!ping) continue;
      // Whoever is asked has another view, and says so.
      const Sender sender{s.what.where, s.what.to->id, s.what.to->epoch, false};
      one.hear(sender, Ack{ping->number, 0, {}, {}, {}, {1, 200}});
    }
    welcomes += one.sent_of_kind<Welcome>().size();
    digests += one.sent_of_kind<Digests>().size();
  }
  REQUIRE(welcomes == 2000);
  REQUIRE(digests >= 2);
  // It asks for what it lacks, and gives what others ask for.
  one.call([&](Membership& core, Time now) { core.reach(one.friend_at(1).id, now); });
  const Friend& first = one.friend_at(1);
  one.hear(first.sender(), Ack{one.sent_to<Ping>(first.endpoint).back().number, 0, {}, {}, {}, {}});
  one.forget();
  one.hear(first.sender(), Listing{1, {{7, 0, 1, {1, 2, 3}}}});
  REQUIRE(one.sent_to<Want>(first.endpoint).size() == 1);
  one.forget();
  Want want{1, {}};
  add_mark(want, first.id);
  one.hear(first.sender(), want);
  REQUIRE(one.sent_to<Records>(first.endpoint).size() == 1);
  for (Friend& other : one.friends()) other.answers = true;
  // And it answers again as soon as that is over.
  one.run_for(300ms);
  one.call([&](Membership& core, Time now) { core.reach(one.friend_at(1).id, now); });
  one.forget();
  one.hear(one.friend_at(1).sender(), digests_of(MemberTable(), 0));
  REQUIRE(one.sent_to<Records>(one.friend_at(1).endpoint).size() >= 3);
}

TEST_CASE("news is told in no more than kNewsBytesPerSecond") {
  Random random(kSeed);
  OneMember one;
  one.know(50, random);
  one.forget();
  const Time start = one.now();
  for (int i = 0; i < 100; ++i) {
    Gossip gossip;
    for (int k = 0; k < 15; ++k) gossip.news.push_back(alive(claims(random, 1)[0]));
    one.hear(one.friend_at(0).sender(), gossip);
    one.run_for(20ms);
  }
  double bytes = 0;
  for (const Sent& sent : one.sent())
    if (std::holds_alternative<Gossip>(sent.what.packet))
      bytes += static_cast<double>(encoded_bytes(sent.what.packet) + kDatagramBytes);
  const double most = kNewsBytesPerSecond * (to_seconds(one.now() - start) + 0.25);
  // An item takes more than the 64 bytes that it is taken for.
  REQUIRE(bytes <= 1.3 * most);
  REQUIRE(bytes >= 0.5 * most);
}

TEST_CASE("of two one of whom knows nobody else, both know all at once") {
  Random random(kSeed);
  Two two;
  two.a.adopt(claims(random, 100), two.now);
  two.b.set_seeds({address(1)}, two.now);
  two.run_for(1s);
  REQUIRE(two.a.table().live() == 102);
  REQUIRE(two.a.table().summary() == two.b.table().summary());
}

TEST_CASE("an observer gets the whole view, and is in nobody's") {
  // Whether it knows an address of its own or not, and however long the member's claim is.
  for (const Endpoint& endpoint : {address(2), Endpoint{}})
    for (const bool long_claim : {false, true}) {
      INFO(endpoint.to_string() << (long_claim ? ", a long claim" : ""));
      Random random(kSeed);
      Two two(endpoint);
      const std::size_t members = 150;
      two.a.adopt(claims(random, members), two.now);
      if (long_claim) {
        auto claim = std::make_shared<Claim>(two.a.self());
        claim->incarnation = kMaxIncarnation - 5;
        two.a.on_packet({address(9), random_id(random), kEpoch, false},
                        Gossip{{{claim, MemberStatus::kSuspect, 1}}}, two.now);
        two.a.set_endpoint(address6(0xffffffff), two.now);
      }
      REQUIRE_FALSE(two.b.in_step());
      two.b.set_seeds({two.at(two.a)}, two.now);
      two.run_for(2s);
      REQUIRE(two.b.in_step());
      REQUIRE(two.b.table().live() == members + 1);
      REQUIRE(two.a.table().live() == members + 1);
      REQUIRE(two.a.table().find(id_of(2)) == nullptr);
      REQUIRE(two.b.table().find(id_of(2)) == nullptr);
      REQUIRE(two.b_only_asks);
      two.b.leave(two.now);
      REQUIRE(two.b.left());
    }
}

TEST_CASE("an observer tells, judges and welcomes nobody") {
  Random random(kSeed);
  MembershipConfig config = OneMember::config_at(OneMember::kEndpoint);
  config.observer = true;
  OneMember one(config);
  one.know(20, random);
  for (Friend& other : one.friends()) other.answers = false;
  const Friend& other = one.friend_at(0);
  one.hear(other.sender(), Gossip{{one.friend_at(1).news(MemberStatus::kSuspect, 5)}});
  one.hear(other.sender(), Relay{1, one.friend_at(2).key(), one.friend_at(2).endpoint});
  one.hear({address(700), random_id(random), kEpoch, true}, Greet{1});
  one.run_for(60s);
  REQUIRE(one.sent_of_kind<Welcome>().empty());
  REQUIRE(one.sent_of_kind<Gossip>().empty());
  REQUIRE(one.sent_of_kind<Relay>().empty());
  REQUIRE(one.status(one.friend_at(1).id) == MemberStatus::kSuspect);
  REQUIRE(one.core().table().dead() == 0);
  REQUIRE(one.find(OneMember::kId) == nullptr);
}

TEST_CASE("of observers no more than kMaxGuests are remembered, the latest") {
  Random random(kSeed);
  OneMember one;
  one.know(100, random);
  std::vector<Friend> observers;
  for (std::uint32_t i = 0; i < kMaxGuests + 1; ++i) {
    const Friend observer = make_friend(random, 6000 + i);
    observers.push_back(observer);
    Ping ping = observer.ping();
    ping.observer = true;
    one.forget();
    one.hear(observer.sender(), ping);
    REQUIRE(one.find(observer.id) == nullptr);
    const auto acks = one.sent_to<Ack>(observer.endpoint);
    REQUIRE(acks.size() == 1);
    one.hear(observer.sender(), digests_of(one.core().table(), acks[0].challenge));
  }
  one.run_for(1s);
  const auto is_answered = [&](const Friend& observer) {
    one.run_for(100ms);  // within the budget
    one.forget();
    Want want{1, {}};
    add_mark(want, one.friend_at(0).id);
    one.hear(observer.sender(), want);
    return !one.sent_to<Records>(observer.endpoint).empty();
  };
  REQUIRE_FALSE(is_answered(observers[0]));
  for (std::size_t i = 1; i < observers.size(); ++i) REQUIRE(is_answered(observers[i]));
}
