#include "tracker/peer_table.h"

#include <algorithm>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"
#include "base/cache.h"
#include "base/check.h"

namespace p2p::tracker {
namespace {

Error limit(const std::string& text) { return Error{ErrorCode::kLimit, text}; }

}  // namespace

std::size_t PeerTable::size_of(const Groups& groups) {
  std::size_t total = 0;
  for (const auto& group : groups) total += group.size();
  return total;
}

std::size_t PeerTable::SlotHash::operator()(const Key& key) const { return absl::Hash<Key>()(key); }

std::size_t PeerTable::SlotHash::operator()(Slot slot) const {
  const Entry& entry = table->at(slot);
  return (*this)(Key{entry.swarm, entry.peer});
}

bool PeerTable::SlotEqual::operator()(Slot slot, const Key& key) const {
  const Entry& entry = table->at(slot);
  return entry.swarm == key.swarm && entry.peer == key.peer;
}

PeerTable::PeerTable(TableLimits limits, Random random)
    : limits_(limits),
      random_(random.fork("peer table")),
      index_(0, SlotHash{this}, SlotEqual{this}) {
  P2P_CHECK(limits.entries < kNoSlot);
}

Status PeerTable::put(const SwarmId& swarm, const TableEntry& entry, const IpAddress& source) {
  const Slot slot = find_slot(swarm, entry.peer);
  const IpAddress network = source.network();
  return slot == kNoSlot ? add(swarm, entry, network) : renew(slot, entry, network);
}

Status PeerTable::add(const SwarmId& swarm, const TableEntry& entry, const IpAddress& source) {
  if (entry_count() >= limits_.entries)
    return limit(absl::StrCat("the table is full (", limits_.entries, " entries)"));
  const bool founds = !swarm_of_id_.contains(swarm);
  if (founds && swarm_count() >= limits_.swarms)
    return limit(absl::StrCat("the table is full (", limits_.swarms, " swarms)"));
  P2P_TRY(count_use(source, founds));
  const Slot slot = take_slot();
  Entry& added = at(slot);
  added.peer = entry.peer;
  added.endpoint = entry.endpoint;
  added.source = source;
  added.swarm = take_swarm(swarm, source);
  added.connection = entry.connection;
  added.expires = entry.expires;
  added.have_percent = entry.have_percent.value_or(kUnknownPercent);
  added.zone = kNoZone;
  added.gateway = kNoGateway;
  added.seeds = entry.complete;
  enter_zone(slot, entry.zone);
  join_group(slot, group_of(entry.endpoint, entry.complete));
  tally(slot, true);
  index_.insert(slot);
  expiries_.set(slot, entry.expires);
  return {};
}

Status PeerTable::renew(Slot slot, const TableEntry& entry, const IpAddress& source) {
  Entry& renewed = at(slot);
  if (renewed.source != source) {
    P2P_TRY(count_use(source, false));
    uncount_use(renewed.source, &Use::entries);
    renewed.source = source;
  }
  tally(slot, false);
  const std::uint8_t group = group_of(entry.endpoint, entry.complete);
  const Zone* zone = zone_of(slot);
  const bool moves = entry.zone != (zone == nullptr ? std::string_view() : zone->name);
  if (group != renewed.group || moves) {
    if (entry.complete || moves) dismiss(slot);
    leave_group(slot);
    if (moves) {
      leave_zone(slot);
      enter_zone(slot, entry.zone);
    }
    join_group(slot, group);
  }
  renewed.endpoint = entry.endpoint;
  renewed.have_percent = entry.have_percent.value_or(kUnknownPercent);
  renewed.connection = entry.connection;
  renewed.expires = entry.expires;
  tally(slot, true);
  if (entry.expires < expiries_.due(slot)) expiries_.set(slot, entry.expires);
  return {};
}

void PeerTable::expire_by(const SwarmId& swarm, const PeerId& peer, Time time) {
  const Slot slot = find_slot(swarm, peer);
  if (slot == kNoSlot || at(slot).expires <= time) return;
  at(slot).expires = time;
  if (time < expiries_.due(slot)) expiries_.set(slot, time);
}

void PeerTable::remove(const SwarmId& swarm, const PeerId& peer) {
  const Slot slot = find_slot(swarm, peer);
  if (slot != kNoSlot) erase(slot);
}

std::optional<TableEntry> PeerTable::find(const SwarmId& swarm, const PeerId& peer) const {
  const Slot slot = find_slot(swarm, peer);
  if (slot == kNoSlot) return std::nullopt;
  return entry_at(slot);
}

std::vector<TableEntry> PeerTable::page(const SwarmId& swarm, std::size_t first,
                                        std::size_t count) const {
  std::vector<TableEntry> entries;
  const Swarm* found = find_swarm(swarm);
  if (found == nullptr) return entries;
  for (const auto& group : found->groups) {
    for (; first < group.size() && entries.size() < count; ++first)
      entries.push_back(entry_at(group[first]));
    if (entries.size() == count) break;
    first -= group.size();
  }
  return entries;
}

TableEntry PeerTable::entry_at(Slot slot) const {
  const Entry& entry = at(slot);
  const Zone* zone = zone_of(slot);
  return TableEntry{entry.peer,
                    entry.endpoint,
                    entry.group % 2 == 1,
                    entry.expires,
                    entry.connection,
                    zone == nullptr ? std::string_view() : zone->name,
                    entry.gateway != kNoGateway,
                    entry.have_percent == kUnknownPercent
                        ? std::nullopt
                        : std::optional<std::uint8_t>(entry.have_percent),
                    entry.seeds};
}

void PeerTable::tally(Slot slot, bool counts) {
  const Entry& entry = at(slot);
  if (entry.seeds) return;
  Swarm& swarm = swarms_[entry.swarm];
  const auto add = [counts](std::uint32_t& to, std::uint32_t number) {
    to = counts ? to + number : to - number;
  };
  add(swarm.fetchers, 1);
  if (entry.group % 2 == 1)
    add(swarm.finished, 1);
  else if (entry.have_percent != kUnknownPercent)
    add(swarm.percent_sum, entry.have_percent);
}

void PeerTable::set_have_percent(const SwarmId& swarm, const PeerId& peer, std::uint8_t percent) {
  const Slot slot = find_slot(swarm, peer);
  if (slot == kNoSlot || at(slot).group % 2 == 1) return;
  tally(slot, false);
  at(slot).have_percent = std::min<std::uint8_t>(percent, kFullPercent - 1);
  tally(slot, true);
}

SwarmSummary PeerTable::summary_of(const Swarm& swarm) const {
  std::size_t complete = 0;
  for (std::size_t group = 1; group < kGroupCount; group += 2)
    complete += swarm.groups[group].size();
  return {swarm.id,       size_of(swarm.groups), complete,         swarm.fetchers,
          swarm.finished, swarm.left_finished,   swarm.percent_sum};
}

std::optional<SwarmSummary> PeerTable::summary(const SwarmId& swarm) const {
  const Swarm* found = find_swarm(swarm);
  if (found == nullptr) return std::nullopt;
  return summary_of(*found);
}

std::vector<SwarmSummary> PeerTable::summaries(std::size_t& position, std::size_t count) const {
  std::vector<SwarmSummary> found;
  for (; count > 0 && position < swarms_.size(); --count, ++position)
    if (size_of(swarms_[position].groups) > 0) found.push_back(summary_of(swarms_[position]));
  if (position >= swarms_.size()) position = 0;
  return found;
}

void PeerTable::expire(Time now) {
  for (std::size_t i = 0; i < kMaxExpiredPerCall && expiries_.earliest() <= now; ++i) {
    if (expiries_.empty()) return;  // now is kNever
    const Slot slot = expiries_.earliest_slot();
    if (at(slot).expires > now)
      expiries_.set(slot, at(slot).expires);
    else
      erase(slot);
  }
}

PeerTable::Skip PeerTable::skip_of(Slot slot) const {
  return slot == kNoSlot ? Skip{} : Skip{at(slot).group, at(slot).position};
}

std::vector<PeerRecord> PeerTable::sample(const SwarmId& swarm, const PeerId& asker,
                                          const IpAddress& to, std::size_t want, bool with_shares) {
  const Swarm* found = find_swarm(swarm);
  if (found == nullptr) return {};
  return draw_records(found->groups, skip_of(find_slot(swarm, asker)), to, want, with_shares);
}

std::vector<PeerId> PeerTable::sample_incomplete(const SwarmId& swarm, const PeerId& except,
                                                 std::size_t want) {
  const Swarm* found = find_swarm(swarm);
  if (found == nullptr) return {};
  return draw_incomplete(found->groups, skip_of(find_slot(swarm, except)), want);
}

std::vector<PeerRecord> PeerTable::draw_records(const Groups& lists, Skip skip, const IpAddress& to,
                                                std::size_t want, bool with_shares) {
  constexpr std::uint8_t kDialable[] = {kPublic, kPublic + 1, kLoopback, kLoopback + 1};
  const std::span<const std::uint8_t> groups(kDialable, to.is_loopback() ? 4 : 2);
  std::array<Slot, kMaxPeersInMessage> slots;
  const std::span<Slot> out(slots.data(), std::min(want, slots.size()));
  const std::size_t count = draw(lists, groups, skip, out);
  std::vector<PeerRecord> records;
  records.reserve(count);
  for (const Slot slot : out.first(count)) {
    const Entry& entry = at(slot);
    PeerRecord& record = records.emplace_back(PeerRecord{entry.endpoint, entry.group % 2 == 1});
    if (!with_shares) continue;
    if (record.complete)
      record.have_percent = kFullPercent;
    else if (entry.have_percent != kUnknownPercent)
      record.have_percent = entry.have_percent;
  }
  return records;
}

std::vector<PeerId> PeerTable::draw_incomplete(const Groups& lists, Skip skip, std::size_t want) {
  constexpr std::uint8_t kIncomplete[] = {kPublic, kLoopback, kListensNowhere};
  std::array<Slot, kMaxPeersInMessage> slots;
  const std::span<Slot> out(slots.data(), std::min(want, slots.size()));
  const std::size_t count = draw(lists, kIncomplete, skip, out);
  std::vector<PeerId> peers;
  peers.reserve(count);
  for (const Slot slot : out.first(count)) peers.push_back(at(slot).peer);
  return peers;
}

// Draws as many different members as fit into `out`, each equally likely and in random order, from
// the groups taken as one row in which `skip` is left out.
std::size_t PeerTable::draw(const Groups& lists, std::span<const std::uint8_t> groups, Skip skip,
                            std::span<Slot> out) {
  std::size_t row = 0;
  std::size_t skipped = SIZE_MAX;
  for (const std::uint8_t group : groups) {
    if (skip.group == group) skipped = row + skip.position;
    row += lists[group].size();
  }
  if (skipped != SIZE_MAX) --row;

  const std::size_t count = std::min(out.size(), row);
  std::array<std::uint32_t, kMaxPeersInMessage> picked;
  if (row <= 4 * kMaxPeersInMessage) {
    // A small row is shuffled as far as needed (Fisher and Yates).
    std::array<std::uint32_t, 4 * kMaxPeersInMessage> order;
    for (std::size_t i = 0; i < row; ++i) order[i] = static_cast<std::uint32_t>(i);
    for (std::size_t i = 0; i < count; ++i) {
      std::swap(order[i], order[i + random_.below(row - i)]);
      picked[i] = order[i];
    }
  } else {
    // In a large one at most a quarter is taken, so that a draw is seldom repeated.
    for (std::size_t i = 0; i < count;) {
      picked[i] = static_cast<std::uint32_t>(random_.below(row));
      if (std::find(picked.begin(), picked.begin() + i, picked[i]) == picked.begin() + i) ++i;
    }
  }
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t position = picked[i] + (picked[i] >= skipped ? 1 : 0);
    auto group = groups.begin();
    while (position >= lists[*group].size()) position -= lists[*group++].size();
    out[i] = lists[*group][position];
    fetch_into_cache(&at(out[i]), sizeof(Entry));
  }
  return count;
}

std::size_t PeerTable::swarm_size(const SwarmId& swarm) const {
  const Swarm* found = find_swarm(swarm);
  return found == nullptr ? 0 : size_of(found->groups);
}

std::size_t PeerTable::complete_count(const SwarmId& swarm) const {
  const Swarm* found = find_swarm(swarm);
  return found == nullptr ? 0 : summary_of(*found).complete;
}

std::uint8_t PeerTable::group_of(const Endpoint& endpoint, bool complete) {
  const Group reach = !endpoint.is_dialable()          ? kListensNowhere
                      : endpoint.address.is_loopback() ? kLoopback
                                                       : kPublic;
  return static_cast<std::uint8_t>(reach + (complete ? 1 : 0));
}

const PeerTable::Swarm* PeerTable::find_swarm(const SwarmId& swarm) const {
  const auto found = swarm_of_id_.find(swarm);
  return found == swarm_of_id_.end() ? nullptr : &swarms_[found->second];
}

PeerTable::Slot PeerTable::find_slot(const SwarmId& swarm, const PeerId& peer) const {
  const auto number = swarm_of_id_.find(swarm);
  if (number == swarm_of_id_.end()) return kNoSlot;
  const auto slot = index_.find(Key{number->second, peer});
  return slot == index_.end() ? kNoSlot : *slot;
}

Status PeerTable::count_use(const IpAddress& network, bool founds) {
  const std::size_t hosts = network.is_v4() ? 1 : kHostsOfNetwork;
  const std::size_t entries = limits_.entries_per_address * hosts;
  const std::size_t swarms = limits_.swarms_per_address * hosts;
  const auto counted = use_of_network_.find(network);
  const Use use = counted == use_of_network_.end() ? Use{} : counted->second;
  if (use.entries >= entries)
    return limit(absl::StrCat("too many entries from one address (", entries, ")"));
  if (founds && use.swarms >= swarms)
    return limit(absl::StrCat("too many contents from one address (", swarms, ")"));
  use_of_network_[network] = {use.entries + 1, use.swarms + (founds ? 1 : 0)};
  return {};
}

void PeerTable::uncount_use(const IpAddress& network, std::uint32_t Use::*counted) {
  const auto found = use_of_network_.find(network);
  --(found->second.*counted);
  if (found->second.entries == 0 && found->second.swarms == 0) use_of_network_.erase(found);
}

std::uint32_t PeerTable::take_swarm(const SwarmId& id, const IpAddress& founder) {
  if (const auto found = swarm_of_id_.find(id); found != swarm_of_id_.end()) return found->second;
  std::uint32_t number = static_cast<std::uint32_t>(swarms_.size());
  if (free_swarms_.empty()) {
    swarms_.emplace_back();
  } else {
    number = free_swarms_.back();
    free_swarms_.pop_back();
  }
  swarms_[number].id = id;
  swarms_[number].founder = founder;
  swarm_of_id_.emplace(id, number);
  return number;
}

PeerTable::Slot PeerTable::take_slot() {
  if (first_free_ == kNoSlot) {
    const Slot first = static_cast<Slot>(blocks_.size() * kSlotsPerBlock);
    blocks_.push_back(std::make_unique<Block>());
    for (Slot slot = first + kSlotsPerBlock; slot-- > first;) {
      at(slot).position = first_free_;
      first_free_ = slot;
    }
  }
  const Slot slot = first_free_;
  first_free_ = at(slot).position;
  return slot;
}

void PeerTable::join_group(Slot slot, std::uint8_t group) {
  Entry& entry = at(slot);
  const auto join = [slot](std::vector<Slot>& members) {
    members.push_back(slot);
    return static_cast<std::uint32_t>(members.size() - 1);
  };
  complete_ += group % 2;
  entry.group = group;
  entry.position = join(swarms_[entry.swarm].groups[group]);
  if (entry.zone != kNoZone) entry.zone_position = join(zones_[entry.zone].groups[group]);
}

void PeerTable::leave_group(Slot slot) {
  const Entry& entry = at(slot);
  const auto leave = [&](std::vector<Slot>& members, std::uint32_t Entry::*position) {
    members[entry.*position] = members.back();
    at(members.back()).*position = entry.*position;
    members.pop_back();
  };
  complete_ -= entry.group % 2;
  leave(swarms_[entry.swarm].groups[entry.group], &Entry::position);
  if (entry.zone != kNoZone) leave(zones_[entry.zone].groups[entry.group], &Entry::zone_position);
}

void PeerTable::erase(Slot slot) {
  index_.erase(slot);
  dismiss(slot);
  tally(slot, false);
  if (!at(slot).seeds && at(slot).group % 2 == 1) ++swarms_[at(slot).swarm].left_finished;
  leave_group(slot);
  leave_zone(slot);
  expiries_.erase(slot);
  Entry& entry = at(slot);
  uncount_use(entry.source, &Use::entries);
  Swarm& swarm = swarms_[entry.swarm];
  if (size_of(swarm.groups) == 0) {
    swarm_of_id_.erase(swarm.id);
    uncount_use(swarm.founder, &Use::swarms);
    swarm = Swarm{};  // the lists' memory goes with it
    free_swarms_.push_back(entry.swarm);
  }
  entry.position = first_free_;
  first_free_ = slot;
}

}  // namespace p2p::tracker
