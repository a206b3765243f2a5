#include "crypto/datagram.h"

#include <malloc.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <limits>
#include <numeric>

#include "crypto/digest.h"
#include "tests/crypto/support.h"

using namespace p2p;
using namespace p2p::test;

namespace {

constexpr std::uint64_t kEpoch = 1'700'000'000'000;

PeerId random_id(Random& random) { return *PeerId::from_bytes(random_bytes(random, 32)); }

Keyring ring_of(std::vector<Secret> keys) { return *Keyring::of(std::move(keys)); }

// A sender and a receiver with one key.
struct Two {
  Random random{kSeed};
  Secret key = random_secret(random);
  Keyring ring = ring_of({key});
  PeerId sender = random_id(random);
  PeerId receiver = random_id(random);
  SessionTag tag = session_tag_of(receiver, kEpoch);
  DatagramSealer sealer{sender, kEpoch, ring};
  DatagramOpener opener{receiver, kEpoch, ring};

  Bytes seal(std::string_view packet = "p2p") { return sealer.seal(bytes_of(packet), tag); }
  std::vector<Bytes> seal_many(std::size_t count) {
    std::vector<Bytes> datagrams;
    for (std::size_t i = 0; i < count; ++i) datagrams.push_back(seal());
    return datagrams;
  }
};

// What open() says to a copy: it works in place.
std::optional<DatagramRefusal> refusal(DatagramOpener& opener, Bytes datagram) {
  const auto opening = opener.open(datagram);
  const DatagramRefusal* refused = std::get_if<DatagramRefusal>(&opening);
  return refused ? std::optional(*refused) : std::nullopt;
}

bool opens(DatagramOpener& opener, const Bytes& datagram) { return !refusal(opener, datagram); }

}  // namespace

TEST_CASE("what was sealed opens, with who sent it") {
  Two two;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{500}, kMaxPacketBytes})
    for (const bool greeting : {false, true}) {
      const Bytes packet = random_bytes(two.random, size);
      Bytes datagram =
          greeting ? two.sealer.seal_greeting(packet) : two.sealer.seal(packet, two.tag);
      REQUIRE(datagram.size() == size + kDatagramOverhead);
      const auto opening = two.opener.open(datagram);
      REQUIRE(std::holds_alternative<OpenedDatagram>(opening));
      const OpenedDatagram& opened = std::get<OpenedDatagram>(opening);
      CHECK(opened.sender == two.sender);
      CHECK(opened.epoch == kEpoch);
      CHECK(opened.greeting == greeting);
      CHECK(opened.key_index == 0);
      CHECK(Bytes(opened.packet.begin(), opened.packet.end()) == packet);
    }
}

TEST_CASE("the greatest packet makes the greatest datagram") {
  Two two;
  CHECK(two.sealer.seal(Bytes(kMaxPacketBytes), two.tag).size() == kMaxDatagramBytes);
  CHECK(kMaxDatagramBytes == 1400);
  Bytes longer(kMaxDatagramBytes + 1);
  const Bytes greatest = two.sealer.seal(Bytes(kMaxPacketBytes), two.tag);
  std::copy(greatest.begin(), greatest.end(), longer.begin());
  CHECK(refusal(two.opener, longer) == DatagramRefusal::kLength);
}

TEST_CASE("a datagram opens under its cluster key alone") {
  Two two;
  const Bytes datagram = two.seal();
  DatagramOpener other(two.receiver, kEpoch, ring_of({random_secret(two.random)}));
  CHECK(refusal(other, datagram) == DatagramRefusal::kUnknownKey);
  // Nor where the hint is changed to one that is known.
  Bytes renamed = datagram;
  const KeyHint hint = key_hint_of(random_secret(two.random));
  CHECK(refusal(two.opener, renamed) == std::nullopt);
  const Secret second = random_secret(two.random);
  DatagramOpener both(two.receiver, kEpoch, ring_of({second, two.key}));
  const KeyHint wrong = key_hint_of(second);
  std::copy(wrong.begin(), wrong.end(), renamed.begin() + 1);
  CHECK(refusal(both, renamed) == DatagramRefusal::kForged);
  std::copy(hint.begin(), hint.end(), renamed.begin() + 1);
  CHECK(refusal(both, renamed) == DatagramRefusal::kUnknownKey);
}

TEST_CASE("a datagram with any bit changed does not open") {
  Two two;
  for (const Bytes& datagram : {two.seal(), two.sealer.seal_greeting(bytes_of("p2p"))}) {
    for (std::size_t bit = 0; bit < datagram.size() * 8; ++bit) {
      Bytes changed = datagram;
      changed[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
      INFO("bit " << bit);
      CHECK(!opens(two.opener, changed));
    }
    CHECK(two.opener.known_senders() == 0);
  }
}

TEST_CASE("a datagram cut or lengthened anywhere does not open") {
  Two two;
  const Bytes datagram = two.sealer.seal(Bytes(kMaxPacketBytes - 1), two.tag);
  for (std::size_t size = 0; size < datagram.size(); ++size)
    CHECK(!opens(two.opener, Bytes(datagram.begin(), datagram.begin() + std::ptrdiff_t(size))));
  Bytes longer = datagram;
  longer.push_back(0);
  CHECK(!opens(two.opener, longer));
  CHECK(opens(two.opener, datagram));
}

TEST_CASE("a datagram is taken once") {
  Two two;
  for (const Bytes& datagram : two.seal_many(10)) {
    CHECK(opens(two.opener, datagram));
    CHECK(refusal(two.opener, datagram) == DatagramRefusal::kReplayed);
  }
  const Bytes greeting = two.sealer.seal_greeting({});
  CHECK(opens(two.opener, greeting));
  CHECK(refusal(two.opener, greeting) == DatagramRefusal::kReplayed);
}

TEST_CASE("datagrams that come in any order within the window are all taken, once") {
  Two two;
  std::vector<Bytes> datagrams = two.seal_many(20 * kReplayWindow);
  // Moved by less than half a window each: no two are further apart than the window.
  for (auto at = datagrams.begin(); at < datagrams.end(); at += kReplayWindow / 2) {
    std::vector<Bytes> part(at, at + kReplayWindow / 2);
    two.random.shuffle(part);
    std::copy(part.begin(), part.end(), at);
  }
  for (const Bytes& datagram : datagrams) REQUIRE(opens(two.opener, datagram));
  for (const Bytes& datagram : datagrams)
    REQUIRE(refusal(two.opener, datagram) == DatagramRefusal::kReplayed);
}

TEST_CASE("the oldest of the window is taken, what is older is not") {
  Two two;
  const std::vector<Bytes> datagrams = two.seal_many(3 * kReplayWindow);
  CHECK(opens(two.opener, datagrams[2 * kReplayWindow]));
  CHECK(opens(two.opener, datagrams[kReplayWindow + 1]));
  CHECK(refusal(two.opener, datagrams[kReplayWindow]) == DatagramRefusal::kReplayed);
  CHECK(refusal(two.opener, datagrams[0]) == DatagramRefusal::kReplayed);
  // A leap over the whole window empties it, and none but it is taken for seen.
  CHECK(opens(two.opener, datagrams[3 * kReplayWindow - 1]));
  for (std::size_t i = 2 * kReplayWindow + 1; i < 3 * kReplayWindow - 1; ++i)
    REQUIRE(opens(two.opener, datagrams[i]));
  CHECK(refusal(two.opener, datagrams[2 * kReplayWindow]) == DatagramRefusal::kReplayed);
}

TEST_CASE("the window agrees with a set of all that was taken") {
  Two two;
  const std::vector<Bytes> datagrams = two.seal_many(6 * kReplayWindow);
  std::vector<bool> taken(datagrams.size());
  std::size_t latest = 0, refused = 0;
  bool any = false;
  for (std::size_t i = 0; i < 5 * datagrams.size(); ++i) {
    const std::size_t centre = i / 5;
    const std::size_t at =
        std::min(centre + two.random.below(3 * kReplayWindow), datagrams.size() - 1);
    const bool expected = !any || at > latest || (latest - at < kReplayWindow && !taken[at]);
    REQUIRE(opens(two.opener, datagrams[at]) == expected);
    if (!expected) {
      ++refused;
      continue;
    }
    taken[at] = any = true;
    latest = std::max(latest, at);
  }
  CHECK(refused > 1000);
}

TEST_CASE("a bound datagram opens for its receiver's session alone, a greeting for all") {
  Two two;
  const Bytes bound = two.seal();
  const Bytes greeting = two.sealer.seal_greeting(bytes_of("hello"));
  DatagramOpener other(random_id(two.random), kEpoch, two.ring);
  DatagramOpener restarted(two.receiver, kEpoch + 1, two.ring);
  for (DatagramOpener* opener : {&other, &restarted}) {
    CHECK(refusal(*opener, bound) == DatagramRefusal::kForged);
    CHECK(opens(*opener, greeting));
  }
  CHECK(opens(two.opener, bound));
}

TEST_CASE("a datagram that comes back to its sender is refused") {
  Two two;
  DatagramOpener own(two.sender, kEpoch, two.ring);
  CHECK(refusal(own, two.sealer.seal_greeting({})) == DatagramRefusal::kOwn);
  CHECK(refusal(own, two.sealer.seal({}, session_tag_of(two.sender, kEpoch))) ==
        DatagramRefusal::kOwn);
}

TEST_CASE("once a sender's newer epoch was seen, its older ones are refused") {
  for (const bool by_greeting : {false, true}) {
    Two two;
    const std::vector<Bytes> older = two.seal_many(3);
    CHECK(opens(two.opener, older[0]));
    DatagramSealer restarted(two.sender, kEpoch + 1, two.ring);
    const Bytes newer = by_greeting ? restarted.seal_greeting({}) : restarted.seal({}, two.tag);
    CHECK(opens(two.opener, newer));
    CHECK(refusal(two.opener, older[0]) == DatagramRefusal::kOldEpoch);
    CHECK(refusal(two.opener, older[1]) == DatagramRefusal::kOldEpoch);
    CHECK(refusal(two.opener, two.sealer.seal_greeting({})) == DatagramRefusal::kOldEpoch);
    CHECK(refusal(two.opener, newer) == DatagramRefusal::kReplayed);
    // The counters start again.
    CHECK(opens(two.opener, restarted.seal({}, two.tag)));
    CHECK(two.opener.known_senders() == 1);
  }
}

TEST_CASE("a forged newer epoch does not shut its sender out") {
  Two two;
  CHECK(opens(two.opener, two.seal()));
  Bytes forged = two.seal();
  put_u64(forged.data() + 1 + 4 + 32, kEpoch + 1000);
  CHECK(refusal(two.opener, forged) == DatagramRefusal::kForged);
  Bytes leap = two.seal();
  put_u64(leap.data() + 1 + 4 + 32 + 8, 1'000'000);
  CHECK(refusal(two.opener, leap) == DatagramRefusal::kForged);
  CHECK(opens(two.opener, two.seal()));
}

TEST_CASE("a key is added, put to use and removed everywhere without a datagram lost") {
  Two two;
  const Secret fresh = random_secret(two.random);
  const Keyring old_only = two.ring, added = ring_of({two.key, fresh}),
                used = ring_of({fresh, two.key}), new_only = ring_of({fresh});
  // Two members that are one step apart at most, in either direction, as an operator goes over the
  // hosts one by one.
  const std::vector<Keyring> steps = {old_only, added, used, new_only};
  PeerId ids[] = {random_id(two.random), random_id(two.random)};
  DatagramSealer sealers[] = {{ids[0], kEpoch, old_only}, {ids[1], kEpoch, old_only}};
  DatagramOpener openers[] = {{ids[0], kEpoch, old_only}, {ids[1], kEpoch, old_only}};
  std::vector<Bytes> before;
  const auto both_hear = [&] {
    for (const int from : {0, 1}) {
      const SessionTag to = session_tag_of(ids[1 - from], kEpoch);
      CHECK(opens(openers[1 - from], sealers[from].seal({}, to)));
      CHECK(opens(openers[1 - from], sealers[from].seal_greeting({})));
    }
  };
  both_hear();
  const Bytes recorded = sealers[0].seal({}, session_tag_of(ids[1], kEpoch));
  CHECK(opens(openers[1], recorded));
  for (std::size_t step = 1; step < steps.size(); ++step)
    for (const int who : {0, 1}) {
      INFO("step " << step << ", member " << who);
      sealers[who].set_keyring(steps[step]);
      openers[who].set_keyring(steps[step]);
      both_hear();
      // A change of keys makes nothing new that was seen.
      CHECK(!opens(openers[1], recorded));
    }
  // The old key is out.
  DatagramSealer stranger(random_id(two.random), kEpoch, old_only);
  CHECK(refusal(openers[0], stranger.seal_greeting({})) == DatagramRefusal::kUnknownKey);
  CHECK(refusal(openers[1], recorded) == DatagramRefusal::kUnknownKey);
}

TEST_CASE("windows are bounded: the sender silent for longest is forgotten, by no greeting") {
  Two two;
  std::vector<PeerId> ids;
  for (std::size_t i = 0; i <= kMaxSenders; ++i) ids.push_back(random_id(two.random));
  const auto bound_of = [&](const PeerId& id) {
    return DatagramSealer(id, kEpoch, two.ring).seal({}, two.tag);
  };
  for (std::size_t i = 0; i < kMaxSenders; ++i) REQUIRE(opens(two.opener, bound_of(ids[i])));
  CHECK(two.opener.known_senders() == kMaxSenders);
  // ids[0] speaks again: ids[1] is the one silent for longest.
  DatagramSealer again(ids[0], kEpoch + 1, two.ring);
  CHECK(opens(two.opener, again.seal({}, two.tag)));
  // Greetings change nothing: not of one that is known, not of one that is not.
  CHECK(opens(two.opener, DatagramSealer(ids[1], kEpoch + 1, two.ring).seal_greeting({})));
  const Bytes greeting = DatagramSealer(random_id(two.random), kEpoch, two.ring).seal_greeting({});
  CHECK(opens(two.opener, greeting));
  CHECK(opens(two.opener, greeting));
  for (std::size_t i : {0, 1, 2}) CHECK(!opens(two.opener, bound_of(ids[i])));
  CHECK(two.opener.known_senders() == kMaxSenders);

  CHECK(opens(two.opener, bound_of(ids[kMaxSenders])));
  CHECK(two.opener.known_senders() == kMaxSenders);
  CHECK(!opens(two.opener, bound_of(ids[0])));
  CHECK(!opens(two.opener, bound_of(ids[2])));
  CHECK(opens(two.opener, bound_of(ids[1])));
}

TEST_CASE("of a million forged, replayed and cut datagrams none is taken, and no memory") {
  Two two;
  std::vector<Bytes> heard = two.seal_many(64);
  for (const Bytes& datagram : heard) REQUIRE(opens(two.opener, datagram));
  const Bytes fresh = two.seal();
  const Bytes recorded = two.sealer.seal({}, session_tag_of(two.receiver, kEpoch - 1));
  std::size_t taken = 0;
  Bytes datagram;
  datagram.reserve(kMaxDatagramBytes);
  const std::size_t memory_before = mallinfo2().uordblks;
  for (std::size_t i = 0; i < 1'000'000; ++i) {
    switch (i % 8) {
      case 0:  // replayed
        datagram = heard[two.random.below(heard.size())];
        break;
      case 1:  // of an earlier session
        datagram = recorded;
        break;
      case 2:  // cut
        datagram.assign(fresh.begin(),
                        fresh.begin() + std::ptrdiff_t(two.random.below(fresh.size())));
        break;
      case 3:  // random after the first bytes, which name the key
        datagram = random_bytes(two.random, 80);
        std::copy_n(fresh.begin(), 5, datagram.begin());
        break;
      case 4:  // of a made-up sender
        datagram = fresh;
        put_u64(datagram.data() + 5, two.random.next());
        break;
      case 5:  // of a made-up epoch or counter
        datagram = fresh;
        put_u64(datagram.data() + 37 + 8 * two.random.below(2), two.random.next());
        break;
      default:  // a bit changed
        datagram = fresh;
        datagram[two.random.below(datagram.size())] ^=
            static_cast<std::uint8_t>(1u << two.random.below(8));
    }
    taken += std::holds_alternative<OpenedDatagram>(two.opener.open(datagram));
  }
  CHECK(taken == 0);
  CHECK(mallinfo2().uordblks <= memory_before + 64 * 1024);
  CHECK(two.opener.known_senders() == 1);
  CHECK(opens(two.opener, fresh));
}

TEST_CASE("an epoch is the clock's, and always greater than the last") {
  CHECK(*fresh_epoch(1000, 0) == 1000);
  CHECK(*fresh_epoch(1000, 999) == 1000);
  CHECK(*fresh_epoch(1000, 1000) == 1001);
  CHECK(*fresh_epoch(1000, 5000) == 5001);
  CHECK(*fresh_epoch(0, 0) == 1);
  constexpr std::uint64_t kGreatest = std::numeric_limits<std::uint64_t>::max();
  CHECK(*fresh_epoch(0, kGreatest - 1) == kGreatest);
  CHECK(fresh_epoch(1000, kGreatest).error().code == ErrorCode::kMalformed);
}

TEST_CASE("a session tag differs by id and by epoch") {
  Random random(kSeed);
  const PeerId a = random_id(random), b = random_id(random);
  CHECK(session_tag_of(a, 1) == session_tag_of(a, 1));
  CHECK(session_tag_of(a, 1) != session_tag_of(a, 2));
  CHECK(session_tag_of(a, 1) != session_tag_of(b, 1));
}
