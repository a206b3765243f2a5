// PeerTable: who is in which swarm, and in which zone. A plain data structure with a clock passed
// in; the hand-out policy is here. Entries are found in O(1), samples are drawn in O(want): never a
// walk or a permutation of a swarm. An entry takes about 160 bytes, a zone of a swarm about 500.
//
// A few members of each zone are its gateways. They alone are given peers of other zones, and those
// are the gateways there: so what crosses between zones is a few copies, whatever the zones' sizes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "base/endpoint.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/random.h"
#include "base/result.h"
#include "base/time.h"
#include "tracker/expiry_heap.h"
#include "tracker/messages.h"

namespace p2p::tracker {

using ConnectionId = std::uint64_t;  // the shell's name for a connection; never reused

struct TableLimits {
  std::size_t swarms = 100'000;
  std::size_t entries = 1'000'000;  // at most 2^32 - 2
  // Of one address (IpAddress::network()), over all swarms: one host cannot fill the table. An IPv6
  // network has kHostsOfNetwork times as many.
  std::size_t entries_per_address = 20'000;
  // Swarms of which an address put the first entry, until their last is gone. The same for
  // networks.
  std::size_t swarms_per_address = 5'000;
  // Past these a newcomer's zone is as if it had named none: that costs locality, never a fetch.
  std::size_t zones = 20'000;
  std::size_t zones_per_swarm = 4096;
};

// Entries that one expire() looks at: about a millisecond of work.
inline constexpr std::size_t kMaxExpiredPerCall = 8192;

// Gateways of a zone. Each takes at most one copy into the zone, and less where another has brought
// it already. What crosses must get past their uplinks, which all their neighbours share: in a
// simulated cluster of 4 racks of 50 hosts with 2, 3, 4, 6 and 8 gateways, the last peer was done
// after 2.0, 1.5, 1.3, 1.08 and 1.04 times what it took without racks, and 1.1, 1.2, 1.3, 1.6
// and 1.7 copies came into a rack.
inline constexpr std::size_t kGateways = 6;
// A zone whose gateways are no use (they hang, or reach nobody) is helped by a member that starves:
// it takes the place of the oldest gateway. Not oftener than this, the wait doubling each time from
// the first to the last: where everybody waits for a slow seeder, new gateways would only add to
// what crosses.
inline constexpr Duration kFirstGatewayTerm = std::chrono::seconds(5);
inline constexpr Duration kLastGatewayTerm = std::chrono::minutes(2);

struct TableEntry {
  PeerId peer;
  Endpoint endpoint;  // not dialable (port 0): counted, told news, but never handed out
  bool complete = false;
  Time expires;
  ConnectionId connection = 0;  // the one that put it last; the table only keeps it
  // Of the caller in put(); of the table in find(), until its next change.
  std::string_view zone = {};
  bool gateway = false;  // answered by find(), not heeded by put()
  // Less than kFullPercent; of one that is complete nothing. Empty: not known.
  std::optional<std::uint8_t> have_percent = {};
  bool seeds =
      false;  // it was complete at its first put(); answered by find(), not heeded by put()
};

// How far a swarm is. Its fetchers are the peers that were not complete when they came.
struct SwarmSummary {
  SwarmId swarm;
  std::size_t peers = 0, complete = 0;
  std::size_t fetchers = 0;
  std::size_t finished = 0;       // of those the ones that are complete now
  std::size_t left_finished = 0;  // fetchers that became complete and are gone, ever
  std::uint64_t percent_sum = 0;  // of the other fetchers, where it is known
};

class PeerTable {
 public:
  PeerTable(TableLimits limits, Random random);
  PeerTable(const PeerTable&) = delete;
  PeerTable& operator=(const PeerTable&) = delete;

  // Adds or renews. kLimit names the limit that stands in the way; an entry that was there stays as
  // it was. `source` is the address the limit counts.
  Status put(const SwarmId& swarm, const TableEntry& entry, const IpAddress& source);
  // Brings the expiry forward to `at` where it is later.
  void expire_by(const SwarmId& swarm, const PeerId& peer, Time at);
  void remove(const SwarmId& swarm, const PeerId& peer);
  std::optional<TableEntry> find(const SwarmId& swarm, const PeerId& peer) const;
  // Up to `count` entries of the swarm from position `first` on; fewer only at its end. For copying
  // a swarm elsewhere bit by bit: between two calls the order changes where entries come and go.
  std::vector<TableEntry> page(const SwarmId& swarm, std::size_t first, std::size_t count) const;

  // Up to `want` (at most kMaxPeersInMessage) different entries that can be dialled, at random and
  // in random order, never `asker` itself. Entries at loopback addresses are given only to askers
  // at loopback addresses: elsewhere they would name the asker's own host.
  // `with_shares`: the records say how much each has, where that is known.
  std::vector<PeerRecord> sample(const SwarmId& swarm, const PeerId& asker, const IpAddress& to,
                                 std::size_t want, bool with_shares = false);
  // Up to `want` (the same limit) peers (their ids) at random that are not complete, for news.
  std::vector<PeerId> sample_incomplete(const SwarmId& swarm, const PeerId& except,
                                        std::size_t want);

  // The same of the asker's own zone; nothing where the asker has none.
  std::vector<PeerRecord> sample_near(const SwarmId& swarm, const PeerId& asker,
                                      const IpAddress& to, std::size_t want);
  std::vector<PeerId> sample_incomplete_near(const SwarmId& swarm, const PeerId& except,
                                             std::size_t want);
  // Up to `want` different entries that can be dialled and are not of the asker's zone: gateways of
  // other zones, peers that are complete, and peers without a zone. By lot, so that one of few may
  // be missed.
  std::vector<PeerRecord> sample_far(const SwarmId& swarm, const PeerId& asker, const IpAddress& to,
                                     std::size_t want);
  // Gateways of other zones than the newcomer's, for news.
  std::vector<PeerId> sample_gateways(const SwarmId& swarm, const PeerId& newcomer,
                                      std::size_t want);

  // Makes an incomplete member a gateway of its zone where one is wanting, or where it starves and
  // the zone's last change of gateways is long enough ago. Answers whether it is one now. An entry
  // that becomes complete, or goes, is none any more.
  bool appoint(const SwarmId& swarm, const PeerId& peer, bool starving, Time now);
  void dismiss(const SwarmId& swarm, const PeerId& peer);

  // Of one that is not complete, between its announces.
  void set_have_percent(const SwarmId& swarm, const PeerId& peer, std::uint8_t percent);

  // In O(1).
  std::optional<SwarmSummary> summary(const SwarmId& swarm) const;
  // Of up to `count` swarms from `position` on, which moves on, and is 0 again after the last. New
  // ones may stand anywhere.
  std::vector<SwarmSummary> summaries(std::size_t& position, std::size_t count) const;

  std::size_t zone_size(const SwarmId& swarm, const PeerId& peer) const;  // of the peer's
  std::size_t zone_count() const { return zone_of_name_.size(); }
  std::size_t swarm_size(const SwarmId& swarm) const;
  std::size_t complete_count(const SwarmId& swarm) const;
  std::size_t swarm_count() const { return swarm_of_id_.size(); }
  std::size_t entry_count() const { return index_.size(); }
  std::size_t complete_count() const { return complete_; }  // over all swarms

  // The earliest expiry (may be earlier than the true one: harmless), and the removal of those that
  // have expired: at most kMaxExpiredPerCall a call, so that the end of a million entries does not
  // hold up everyone else. While next_expiry() is not after `now`, more are left.
  Time next_expiry() const { return expiries_.earliest(); }
  void expire(Time now);

 private:
  using Slot = ExpiryHeap::Slot;
  static constexpr Slot kNoSlot = UINT32_MAX;
  static constexpr std::uint32_t kNoZone = UINT32_MAX;
  static constexpr std::uint32_t kNoGateway = UINT32_MAX;
  static constexpr std::uint8_t kUnknownPercent = 127;
  static constexpr std::size_t kSlotsPerBlock = 256;
  // The members of a swarm stand in one list for each way of being asked for, so that a draw never
  // meets one that it must not take. Even numbers: incomplete; the odd one after each: complete.
  enum Group : std::uint8_t { kPublic = 0, kLoopback = 2, kListensNowhere = 4, kGroupCount = 6 };

  struct Entry {
    PeerId peer;
    Endpoint endpoint;
    IpAddress source;  // its network()
    std::uint8_t group = 0;
    std::uint8_t have_percent : 7 = kUnknownPercent;
    bool seeds : 1 = false;
    std::uint32_t swarm = 0;
    std::uint32_t position = 0;  // in its group's list; of a free slot: the next free slot
    std::uint32_t zone = kNoZone;
    std::uint32_t zone_position = 0;     // in its group's list of the zone
    std::uint32_t gateway = kNoGateway;  // position in the swarm's list
    ConnectionId connection = 0;
    Time expires;
  };
  using Block = std::array<Entry, kSlotsPerBlock>;
  using Groups = std::array<std::vector<Slot>, kGroupCount>;

  struct Swarm {
    SwarmId id;
    Groups groups;
    std::vector<Slot> gateways;  // of all its zones
    std::size_t zones = 0;
    IpAddress founder;  // its network()
    // As in SwarmSummary.
    std::uint32_t fetchers = 0, finished = 0, left_finished = 0;
    std::uint32_t percent_sum = 0;
  };
  struct Use {
    std::uint32_t entries = 0, swarms = 0;
  };
  // Of one swarm. Its members stand in its own lists and in the swarm's.
  struct Zone {
    std::string name;
    std::uint32_t swarm = 0;
    Groups groups;
    std::vector<Slot> gateways;  // in order of appointment
    Time change_at = Time::min();
    Duration term = kFirstGatewayTerm;
  };
  using ZoneKey = std::pair<std::uint32_t, std::string>;

  // The index holds slots only and reads the keys from the entries.
  struct Key {
    std::uint32_t swarm;
    const PeerId& peer;
    template <typename H>
    friend H AbslHashValue(H state, const Key& key) {
      return H::combine(std::move(state), key.swarm, key.peer);
    }
  };
  struct SlotHash {
    using is_transparent = void;
    const PeerTable* table;
    std::size_t operator()(const Key& key) const;
    std::size_t operator()(Slot slot) const;
  };
  struct SlotEqual {
    using is_transparent = void;
    const PeerTable* table;
    bool operator()(Slot a, Slot b) const { return a == b; }
    bool operator()(Slot slot, const Key& key) const;
    bool operator()(const Key& key, Slot slot) const { return (*this)(slot, key); }
  };

  const Entry& at(Slot slot) const {
    return (*blocks_[slot / kSlotsPerBlock])[slot % kSlotsPerBlock];
  }
  Entry& at(Slot slot) { return const_cast<Entry&>(std::as_const(*this).at(slot)); }
  static std::size_t size_of(const Groups& groups);
  static std::uint8_t group_of(const Endpoint& endpoint, bool complete);

  const Swarm* find_swarm(const SwarmId& swarm) const;
  Slot find_slot(const SwarmId& swarm, const PeerId& peer) const;
  Status add(const SwarmId& swarm, const TableEntry& entry, const IpAddress& source);
  Status renew(Slot slot, const TableEntry& entry, const IpAddress& source);
  // Of a network: counts an entry, and the swarm that it founds.
  Status count_use(const IpAddress& network, bool founds);
  void uncount_use(const IpAddress& network, std::uint32_t Use::*counted);
  std::uint32_t take_swarm(const SwarmId& id, const IpAddress& founder);
  Slot take_slot();
  // Counts the entry in its swarm's summary, or no more: before and after it changes.
  void tally(Slot slot, bool counts);
  SwarmSummary summary_of(const Swarm& swarm) const;
  TableEntry entry_at(Slot slot) const;
  void join_group(Slot slot, std::uint8_t group);
  void leave_group(Slot slot);
  void erase(Slot slot);
  // A member that a draw leaves out: its group, and its position there.
  struct Skip {
    std::uint8_t group = kGroupCount;
    std::uint32_t position = 0;
  };
  Skip skip_of(Slot slot) const;  // in the swarm's lists
  std::size_t draw(const Groups& lists, std::span<const std::uint8_t> groups, Skip skip,
                   std::span<Slot> out);
  std::vector<PeerRecord> draw_records(const Groups& lists, Skip skip, const IpAddress& to,
                                       std::size_t want, bool with_shares = false);
  std::vector<PeerId> draw_incomplete(const Groups& lists, Skip skip, std::size_t want);

  // peer_table_zones.cc
  void enter_zone(Slot slot, std::string_view name);
  void leave_zone(Slot slot);
  void dismiss(Slot slot);
  const Zone* zone_of(Slot slot) const;
  Slot draw_far(const Swarm& swarm, bool loopback);

  TableLimits limits_;
  Random random_;
  std::vector<std::unique_ptr<Block>> blocks_;
  Slot first_free_ = kNoSlot;
  std::vector<Swarm> swarms_;
  std::vector<std::uint32_t> free_swarms_;
  absl::flat_hash_map<SwarmId, std::uint32_t> swarm_of_id_;
  std::vector<Zone> zones_;
  std::vector<std::uint32_t> free_zones_;
  absl::flat_hash_map<ZoneKey, std::uint32_t> zone_of_name_;
  absl::flat_hash_set<Slot, SlotHash, SlotEqual> index_;
  absl::flat_hash_map<IpAddress, Use> use_of_network_;
  std::size_t complete_ = 0;
  // Never later than an entry's true expiry: a renewal leaves it, and expire() corrects it.
  ExpiryHeap expiries_;
};

}  // namespace p2p::tracker
