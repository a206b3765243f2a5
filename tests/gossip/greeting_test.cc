// How members find each other: greetings, seeds, the way back to those thought dead, and where a
// member learns its own address.
#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <set>

#include "tests/gossip/one_member.h"

using namespace p2p;
using namespace p2p::gossip;
using namespace p2p::gossip::test;
using namespace std::chrono_literals;

namespace {

Friend stranger(std::uint8_t fill = 0x10) {
  Friend made;
  made.id = id_of(fill);
  made.endpoint = address(fill);
  return made;
}

Sender greeting(const Friend& from) { return {from.endpoint, from.id, from.epoch, true}; }

void give_seeds(OneMember& one, const std::vector<Endpoint>& seeds) {
  one.call([&](Membership& core, Time now) { core.set_seeds(seeds, now); });
}

}  // namespace

TEST_CASE("two that greet know each other within ten packets") {
  const Time now{100s};
  std::deque<Membership> cores;
  for (std::uint8_t i = 0; i < 2; ++i)
    cores.emplace_back(OneMember::config_at(address(i), id_of(i)), Random(i), now);
  cores[0].set_seeds({address(1)}, now);
  cores[0].on_timeout(now);
  std::size_t packets = 0;
  for (bool quiet = false; !quiet;) {
    quiet = true;
    for (std::size_t i = 0; i < 2; ++i)
      while (auto action = cores[i].poll_action()) {
        quiet = false;
        const auto& packet = std::get<SendPacket>(*action);
        const std::size_t to = packet.where == address(0) ? 0 : 1;
        REQUIRE(to != i);
        REQUIRE((!packet.to || packet.to->id == id_of(static_cast<std::uint8_t>(to))));
        REQUIRE(++packets <= 10);
        cores[to].on_packet({address(static_cast<std::uint32_t>(i)),
                             id_of(static_cast<std::uint8_t>(i)), kEpoch, !packet.to},
                            packet.packet, now);
      }
  }
  for (const Membership& core : cores) REQUIRE(core.table().live() == 2);
  REQUIRE(cores[0].table().summary() == cores[1].table().summary());
}

TEST_CASE("nothing is learned from a greeting; it is answered once, to who sent it") {
  OneMember one;
  const Friend other = stranger();
  one.hear(greeting(other), Greet{77});
  REQUIRE(one.sent().size() == 1);
  const SendPacket& answer = one.sent()[0].what;
  REQUIRE(answer.where == other.endpoint);
  REQUIRE(answer.to == other.key());
  const auto& welcome = std::get<Welcome>(answer.packet);
  REQUIRE(welcome.number == 77);
  REQUIRE(welcome.seen == other.endpoint);
  REQUIRE(welcome.self.endpoint == OneMember::kEndpoint);
  REQUIRE(welcome.introductions.empty());
  one.forget();
  one.run_for(10s);
  REQUIRE(one.core().table().size() == 1);
  REQUIRE(one.sent().empty());
}

TEST_CASE("a Welcome names kMaxIntroductions others, each once, and not the one welcomed") {
  Random random(kSeed);
  OneMember one;
  one.know(10, random);
  for (int i = 0; i < 50; ++i) {
    one.forget();
    one.hear(greeting(one.friend_at(0)), Greet{1});
    std::set<PeerId> named;
    const std::vector<Welcome> welcomes = one.sent_of_kind<Welcome>();
    REQUIRE(welcomes.size() == 1);
    for (const News& news : welcomes[0].introductions) named.insert(news.id());
    REQUIRE(named.size() == kMaxIntroductions);
    REQUIRE_FALSE(named.contains(one.friend_at(0).id));
    REQUIRE_FALSE(named.contains(OneMember::kId));
  }
}

TEST_CASE("a Greet that is bound is ignored, and anything else that greets") {
  OneMember one;
  const Friend other = stranger();
  one.hear(other.sender(), Greet{1});
  REQUIRE(one.sent().empty());
  Random random(kSeed);
  for (std::size_t kind = 0; kind < kKinds; ++kind)
    if (kind != 4) one.hear(greeting(other), random_packet(kind, random));
  REQUIRE(one.sent().empty());
  REQUIRE(one.core().table().size() == 1);
}

TEST_CASE("a Welcome counts once, from where the greeting went, with its number") {
  const Friend seed = stranger();
  OneMember one;
  give_seeds(one, {seed.endpoint});
  one.run_for(0s);
  const auto greets = one.sent_to<Greet>(seed.endpoint);
  REQUIRE(greets.size() == 1);
  REQUIRE_FALSE(one.sent()[0].what.to);
  const Friend third = stranger(0x30), fourth = stranger(0x40);
  const Welcome welcome{
      greets[0].number, seed.self(), OneMember::kEndpoint, {alive(third.claim())}};
  const auto known = [&] { return one.core().table().size() - 1; };

  Welcome other_number = welcome;
  ++other_number.number;
  one.hear(seed.sender(), other_number);
  REQUIRE(known() == 0);
  Sender elsewhere = seed.sender();
  elsewhere.from = address(99);
  one.hear(elsewhere, welcome);
  REQUIRE(known() == 0);

  one.hear(seed.sender(), welcome);
  REQUIRE(known() == 2);
  REQUIRE(one.find(seed.id) != nullptr);
  REQUIRE(one.find(third.id) != nullptr);
  // Who welcomed it hears of it at once.
  REQUIRE(one.sent_to<Ping>(seed.endpoint).size() + one.sent_to<Ping>(third.endpoint).size() > 0);

  Welcome again = welcome;
  again.introductions = {alive(fourth.claim())};
  one.hear(seed.sender(), again);
  REQUIRE(known() == 2);
}

TEST_CASE("alone it greets a seed, then kGreetAtOnce at a time, more and more rarely") {
  std::vector<Endpoint> seeds;
  for (std::uint32_t i = 0; i < 8; ++i) seeds.push_back(address(50 + i));
  OneMember one;
  give_seeds(one, seeds);
  one.run_for(120s);
  std::map<Time, std::size_t> times;
  std::set<Endpoint> greeted;
  for (const Sent& sent : one.sent()) {
    REQUIRE(std::holds_alternative<Greet>(sent.what.packet));
    ++times[sent.at];
    greeted.insert(sent.what.where);
  }
  REQUIRE(greeted.size() == seeds.size());
  REQUIRE(times.begin()->first == Time(1000s));
  double wait = to_seconds(kFirstGreet);
  Time before = times.begin()->first;
  for (const auto& [at, count] : times) {
    REQUIRE(count == (at == before ? 1 : kGreetAtOnce));
    if (at == before) continue;
    const double waited = to_seconds(at - before);
    REQUIRE(waited >= 0.74 * wait);
    REQUIRE(waited <= 1.26 * wait);
    wait = std::min(1.5 * wait, to_seconds(kLastGreet));
    before = at;
  }
  REQUIRE(wait == to_seconds(kLastGreet));
}

TEST_CASE("of the seeds no more than kMaxSeeds are taken, and none where nobody can be") {
  std::vector<Endpoint> seeds = {{}, {IpAddress::parse("10.0.0.1").value(), 0}};
  for (std::uint32_t i = 0; i < kMaxSeeds + 50; ++i) seeds.push_back(address(1000 + i));
  OneMember one;
  give_seeds(one, seeds);
  one.run_for(std::chrono::hours(2));
  std::set<Endpoint> greeted;
  for (const Sent& sent : one.sent()) greeted.insert(sent.what.where);
  REQUIRE_FALSE(greeted.empty());
  REQUIRE(greeted.size() <= kMaxSeeds);
  for (const Endpoint& where : greeted) REQUIRE(where < address(1000 + kMaxSeeds));
}

TEST_CASE("it does not greet itself, nor anybody when the seeds are taken away") {
  OneMember one;
  give_seeds(one, {OneMember::kEndpoint});
  one.run_for(30s);
  REQUIRE(one.sent().empty());
  give_seeds(one, {address(9)});
  one.run_for(30s);
  REQUIRE_FALSE(one.sent().empty());
  give_seeds(one, {});
  one.forget();
  one.run_for(100s);
  REQUIRE(one.sent().empty());
}

TEST_CASE("in company about kGreetersInCompany members greet a seed in each interval") {
  for (const std::size_t members : {std::size_t{5}, std::size_t{300}}) {
    Random random(kSeed);
    OneMember one;
    give_seeds(one, {address(9)});
    one.know(members, random);
    one.run_for(100 * kGreetInCompany);
    const double share = std::min(1.0, kGreetersInCompany / static_cast<double>(members));
    const auto greets = static_cast<double>(one.sent_to<Greet>(address(9)).size());
    REQUIRE(greets <= 100 * share + 15);
    REQUIRE(greets >= 100 * share - 8);
  }
}

TEST_CASE("one who is thought dead is greeted now and then; one who left is not") {
  Random random(kSeed);
  OneMember one;
  one.know(3, random);
  for (Friend& other : one.friends()) other.answers = true;
  const Friend dead = stranger(0x20), departed = stranger(0x21);
  one.hear(one.friend_at(0).sender(),
           Gossip{{dead.news(MemberStatus::kDead, 1), departed.news(MemberStatus::kLeft)}});
  one.run_for(20 * kReconnect);
  const std::size_t greets = one.sent_to<Greet>(dead.endpoint).size();
  REQUIRE(greets >= 1);
  REQUIRE(greets <= 12);  // one of five that are known: a fifth of the times
  REQUIRE(one.sent_to<Greet>(departed.endpoint).empty());

  // It answers: it is told that it is thought dead, and so comes back.
  const auto number = one.sent_to<Greet>(dead.endpoint).back().number;
  one.forget();
  one.hear(dead.sender(), Welcome{number, dead.self(), OneMember::kEndpoint, {}});
  const auto pings = one.sent_to<Ping>(dead.endpoint);
  REQUIRE_FALSE(pings.empty());
  REQUIRE(pings[0].you == YouAre{0, MemberStatus::kDead});
  Friend back = dead;
  back.incarnation = 1;
  one.hear(back.sender(), Ack{pings[0].number, 0, back.self(), {}, {}, {}});
  REQUIRE(one.status(dead.id) == MemberStatus::kAlive);
}

TEST_CASE("a member that was told no address learns it from the first Welcome") {
  OneMember one(OneMember::config_at({}));
  const Friend seed = stranger();
  REQUIRE(one.core().table().size() == 0);
  // Until then it says nothing, for it could say nothing of itself.
  one.hear(seed.sender(), Ping{1, false, seed.self(), {}, {}, {}});
  one.hear(greeting(seed), Greet{1});
  REQUIRE(one.sent().empty());

  give_seeds(one, {seed.endpoint});
  one.run_for(0s);
  const auto greets = one.sent_to<Greet>(seed.endpoint);
  REQUIRE(greets.size() == 1);
  one.hear(seed.sender(), Welcome{greets[0].number, seed.self(), address(42), {}});
  REQUIRE(one.core().self().endpoint == address(42));
  REQUIRE(one.core().table().live() == 2);
  const auto pings = one.sent_to<Ping>(seed.endpoint);
  REQUIRE(pings.size() == 1);
  REQUIRE(pings[0].self.endpoint == address(42));
}

TEST_CASE("a learned address changes when two in turn see another one, not for one alone") {
  Random random(kSeed);
  OneMember one(OneMember::config_at({}));
  one.call([](Membership& core, Time now) { core.set_endpoint(address(42), now); });
  one.know(3, random);
  const auto says = [&](std::size_t who, const Endpoint& seen) {
    const Friend& other = one.friend_at(who);
    one.hear(other.sender(), Ping{1, false, other.self(), {}, seen, {}});
  };
  const Incarnation before = one.core().self().incarnation;
  says(0, address(43));
  says(0, address(43));
  REQUIRE(one.core().self().endpoint == address(42));
  says(1, address(44));
  REQUIRE(one.core().self().endpoint == address(42));
  says(1, {});
  says(2, address(44));
  REQUIRE(one.core().self().endpoint == address(44));
  REQUIRE(one.core().self().incarnation == before + 1);
  REQUIRE(one.find(OneMember::kId)->claim->endpoint == address(44));
}

TEST_CASE("an address that was given is kept, whatever others see") {
  Random random(kSeed);
  OneMember one;
  one.know(5, random);
  for (const Friend& other : one.friends())
    one.hear(other.sender(), Ping{1, false, other.self(), {}, address(43), {}});
  REQUIRE(one.core().self().endpoint == OneMember::kEndpoint);
}

TEST_CASE("an address that is a guess is changed by the first who greets back, later by two") {
  MembershipConfig config = OneMember::config_at(address(42));
  config.endpoint_is_guess = true;
  OneMember one(config);
  const Friend seed = stranger(), other = stranger(0x11);
  give_seeds(one, {seed.endpoint});
  one.run_for(0s);
  const auto greets = one.sent_to<Greet>(seed.endpoint);
  REQUIRE(greets.size() == 1);
  one.hear(seed.sender(), Welcome{greets[0].number, seed.self(), address(43), {}});
  REQUIRE(one.core().self().endpoint == address(43));
  REQUIRE(one.core().self().incarnation == 1);
  for (const auto& [who, expected] : {std::pair{&seed, 43}, std::pair{&other, 44}}) {
    one.hear(who->sender(), Ping{1, false, who->self(), {}, address(44), {}});
    REQUIRE(one.core().self().endpoint == address(static_cast<std::uint32_t>(expected)));
  }
}
