// Membership: two whose views differ exchange what differs. The one that notices sends its digests,
// a number a bucket. Who gets them answers for the buckets that differ: to one who has next to
// nothing, with the records themselves; else with a mark for each member that it has, to which the
// first answers with what is not marked, and by asking for what is marked and not here. Nothing is
// kept in between: what is lost on the way differs again at the next sync.
#include <algorithm>
#include <cmath>

#include "crypto/digest.h"
#include "gossip/membership.h"

namespace p2p::gossip {
namespace {

// What brought so many is worth repeating at once.
constexpr std::size_t kMuch = 8;
// Who knows less than this share of the live ones is sent records unasked: most of them are new
// there, and it saves a round trip. Above it marks are cheaper, which take 2 bytes, not 60.
constexpr double kFewShare = 0.25;
constexpr std::size_t kHeadBytes = 16;  // of a packet before its items, at most

Time jittered(Time from, Duration interval, Random& random) {
  return from + from_seconds(to_seconds(interval) * (2 + 2 * random.unit()) / 3);
}

// How many members differ in a bucket that does, when so many buckets differ, at least one: as when
// each member falls into one of them by chance.
double differing_in_each(std::size_t differing_buckets) {
  const auto same = std::max(static_cast<double>(kBuckets - differing_buckets), 0.5);
  return kBuckets * std::log(kBuckets / same) / static_cast<double>(differing_buckets);
}

// Calls `send` with as many of the items at a time as fit into a packet, while it says true.
template <typename Item, typename Send>
bool in_packets(std::vector<Item> items, std::size_t most, Send send) {
  std::vector<Item> some;
  std::size_t bytes = kHeadBytes;
  for (Item& item : items) {
    const std::size_t size = encoded_bytes(item);
    if (!some.empty() && (bytes + size > kMaxPacketBytes || some.size() == most)) {
      if (!send(std::exchange(some, {}))) return false;
      bytes = kHeadBytes;
    }
    bytes += size;
    some.push_back(std::move(item));
  }
  return some.empty() || send(std::move(some));
}

// The live members of a bucket, in as many parts as it takes for each to fit into a packet.
std::vector<BucketMarks> marks_of_bucket(const MemberTable& table, std::size_t bucket,
                                         std::uint32_t salt) {
  std::size_t live = 0;
  table.each_of_bucket(bucket, [&](const MemberTable::Member& m) { live += is_live(m.status); });
  // Where there is more than one, of half the size on average, so that hardly any is too full.
  std::uint32_t count = 1;
  while (live > (count == 1 ? kMaxMarks : count * kMaxMarks / 2) && count < kMaxBucketParts)
    count *= 2;
  std::vector<BucketMarks> parts(count);
  for (std::uint32_t i = 0; i < count; ++i)
    parts[i] = {static_cast<std::uint8_t>(bucket), i, count, {}};
  table.each_of_bucket(bucket, [&](const MemberTable::Member& member) {
    if (is_live(member.status))
      parts[part_of(member.claim->id, count)].marks.push_back(
          MemberTable::mark_of(*member.claim, salt));
  });
  // As good as lost.
  std::erase_if(parts, [](const BucketMarks& part) { return part.marks.size() > kMaxMarks; });
  return parts;
}

}  // namespace

void Membership::hear_view(const ViewSummary& view) {
  if (view == table_.summary()) {
    behind_ = false;
    sync_at_ = kNever;
    sync_interval_ = kFastSync;
    return;
  }
  behind_ = true;
  if (sync_at_ != kNever) return;
  // What was told a moment ago is still on its way to somebody.
  const Duration patience = has_much_to_gain() ? Duration{0} : kSyncPatience;
  sync_at_ = std::max(now_ + patience, jittered(synced_at_, sync_interval_, random_));
}

bool Membership::has_much_to_gain() const {
  return gained_ >= kMuch || others() < kMuch ||
         (heard_view_ && heard_view_->live >= table_.live() + kMuch);
}

// With one at random: whoever it is may have what we lack. Where much changes all the time no view
// is like another, so the wait grows.
void Membership::start_sync() {
  sync_interval_ = has_much_to_gain() ? kFastSync : std::min(2 * sync_interval_, kSyncInterval);
  sync_at_ = jittered(now_, sync_interval_, random_);
  const Member* member = random_other();
  if (!member || (!is_speaking() && !config_.observer)) return;
  ping(member->key(), member->claim->endpoint, Purpose::kSync);
}

void Membership::send_digests(const Sender& to, std::uint32_t proof) {
  Digests digests{proof, static_cast<std::uint32_t>(table_.live())};
  for (std::size_t i = 0; i < kBuckets; ++i)
    digests.digests[i] = MemberTable::short_digest(table_.digests()[i]);
  send_question(to, std::move(digests));
  gained_ = 0;
  synced_at_ = now_;
}

// ---- who is where it says ----

// A number that only who receives packets there can know. It needs no memory.
std::uint32_t Membership::challenge_of(const Sender& sender) const {
  Hasher hasher = Hasher::keyed(secret_);
  std::uint8_t numbers[10];
  put_u16(numbers, sender.from.port);
  put_u64(numbers + 2, sender.epoch);
  hasher.update(sender.from.address.bytes());
  hasher.update(numbers);
  hasher.update(sender.id.view());
  const Digest digest = hasher.finish();
  return get_u32(digest.bytes.data()) | 0x80000000u;
}

bool Membership::is_proven(const Sender& sender) const {
  const Member* member = table_.find(sender.id);
  if (member && member->claim->epoch == sender.epoch && member->proven &&
      member->claim->endpoint == sender.from)
    return true;
  return std::any_of(guests_.begin(), guests_.end(), [&](const Guest& guest) {
    return guest.proven && guest.key == MemberKey{sender.id, sender.epoch} &&
           guest.endpoint == sender.from;
  });
}

void Membership::prove(const Sender& sender) {
  Member* member = table_.find(sender.id);
  if (member && member->claim->epoch == sender.epoch && member->claim->endpoint == sender.from)
    member->proven = true;
  for (Guest& guest : guests_)
    if (guest.key == MemberKey{sender.id, sender.epoch} && guest.endpoint == sender.from)
      guest.proven = true;
}

void Membership::note_guest(const Sender& sender) {
  const MemberKey key{sender.id, sender.epoch};
  for (const Guest& guest : guests_)
    if (guest.key == key && guest.endpoint == sender.from) return;
  if (guests_.size() == kMaxGuests) {
    // The oldest, of those that may not even be there.
    const auto oldest = std::find_if(guests_.begin(), guests_.end(),
                                     [](const Guest& guest) { return !guest.proven; });
    guests_.erase(oldest == guests_.end() ? guests_.begin() : oldest);
  }
  guests_.push_back({key, sender.from});
}

// ---- the exchange ----

bool Membership::send_budgeted(const Sender& to, Packet packet) {
  if (!sync_budget_.take(encoded_bytes(packet) + kDatagramBytes, now_)) return false;
  send(to.from, {to.id, to.epoch}, std::move(packet));
  return true;
}

// Questions are few, and not to be held up by those who ask us.
void Membership::send_question(const Sender& to, Packet packet) {
  sync_budget_.spend(encoded_bytes(packet) + kDatagramBytes, now_);
  send(to.from, {to.id, to.epoch}, std::move(packet));
}

// In as many packets as it takes; false when the budget is used up.
bool Membership::send_records(const Sender& to, std::vector<News> records) {
  return in_packets(std::move(records), kMaxNewsInPacket, [&](std::vector<News> some) {
    return send_budgeted(to, Records{std::move(some)});
  });
}

// All that are live in these buckets, as far as the budget reaches.
void Membership::send_members_of(const Sender& to, const std::vector<std::size_t>& buckets) {
  std::vector<News> records;
  double room = sync_budget_.left(now_);
  for (const std::size_t bucket : buckets) {
    if (room <= 0) break;
    table_.each_of_bucket(bucket, [&](const Member& member) {
      if (!is_live(member.status)) return;
      records.push_back({member.claim, member.status, 0});
      room -= static_cast<double>(encoded_bytes(records.back()));
    });
  }
  send_records(to, std::move(records));
}

// No more is listed than what will be wanted of it can be sent, as far as one can tell: of each
// bucket the share that is lacked, and what differs by the count of buckets that do. A packet of
// either kind may be nearly empty.
void Membership::send_listings(const Sender& to, const std::vector<std::size_t>& buckets,
                               double lacks) {
  if (buckets.empty()) return;
  const std::uint32_t salt = fresh_number();
  const double differ = differing_in_each(buckets.size());
  std::vector<BucketMarks> listed;
  double room = (sync_budget_.left(now_) - 2 * kMaxPacketBytes) * kMaxPacketBytes /
                (kMaxPacketBytes + kDatagramBytes);
  for (const std::size_t bucket : buckets) {
    if (room <= 0) break;
    for (BucketMarks& part : marks_of_bucket(table_, bucket, salt)) {
      const double wanted =
          std::max(lacks * static_cast<double>(part.marks.size()), differ / part.parts);
      room -= static_cast<double>(encoded_bytes(part)) + wanted * kUsualNewsBytes;
      listed.push_back(std::move(part));
    }
  }
  in_packets(std::move(listed), kBuckets, [&](std::vector<BucketMarks> some) {
    std::sort(some.begin(), some.end(), [](const BucketMarks& a, const BucketMarks& b) {
      return std::pair(a.bucket, a.part) < std::pair(b.bucket, b.part);
    });
    return send_budgeted(to, Listing{salt, std::move(some)});
  });
}

void Membership::on(const Sender& sender, const Digests& digests) {
  if (digests.proof != 0 && digests.proof == challenge_of(sender)) prove(sender);
  if (!is_proven(sender) || config_.observer) return;
  // From one at random on: not all of them may fit.
  std::vector<std::size_t> differing;
  const std::size_t first = random_.below(kBuckets);
  for (std::size_t i = 0; i < kBuckets; ++i) {
    const std::size_t bucket = (first + i) % kBuckets;
    if (MemberTable::short_digest(table_.digests()[bucket]) != digests.digests[bucket])
      differing.push_back(bucket);
  }
  const double lacks = 1 - static_cast<double>(digests.live) / static_cast<double>(table_.live());
  if (lacks > 1 - kFewShare || digests.live < kMuch)
    send_members_of(sender, differing);
  else
    send_listings(sender, differing, lacks);
}

// What is not marked there is sent, and what is marked and not here is asked for. Of one member
// each may have another claim: both go their way, and the higher one stays.
void Membership::on(const Sender& sender, const Listing& listing) {
  if (!is_proven(sender)) return;
  std::vector<News> newer;
  Want want{listing.salt, {}};
  std::size_t wanted = 0;
  for (const BucketMarks& theirs : listing.buckets) {
    if (newer.size() >= kMaxWanted) break;
    std::vector<Mark> marks = theirs.marks;
    std::sort(marks.begin(), marks.end());
    std::vector<bool> known(marks.size());
    table_.each_of_bucket(theirs.bucket, [&](const Member& member) {
      if (part_of(member.claim->id, theirs.parts) != theirs.part) return;
      const Mark mark = MemberTable::mark_of(*member.claim, listing.salt);
      const auto [from, to] = std::equal_range(marks.begin(), marks.end(), mark);
      std::fill(known.begin() + (from - marks.begin()), known.begin() + (to - marks.begin()), true);
      // Also one who is dead and listed as live.
      if ((from != to) != is_live(member.status)) newer.push_back({member.claim, member.status, 0});
    });
    BucketMarks missing{theirs.bucket, theirs.part, theirs.parts, {}};
    for (std::size_t i = 0; i < marks.size() && wanted < kMaxWanted; ++i) {
      if (known[i]) continue;
      missing.marks.push_back(marks[i]);
      ++wanted;
    }
    if (!missing.marks.empty()) want.buckets.push_back(std::move(missing));
  }
  if (wanted > 0) send_question(sender, std::move(want));
  if (!config_.observer) send_records(sender, std::move(newer));
}

// The dead too: they are wanted by the marks of what was listed a moment ago.
void Membership::on(const Sender& sender, const Want& want) {
  if (!is_proven(sender) || config_.observer) return;
  if (sync_budget_.left(now_) < kUsualNewsBytes + kDatagramBytes) return;  // nothing can be sent
  std::vector<News> records;
  for (const BucketMarks& wanted : want.buckets) {
    std::vector<Mark> marks = wanted.marks;
    std::sort(marks.begin(), marks.end());
    table_.each_of_bucket(wanted.bucket, [&](const Member& member) {
      if (records.size() < kMaxWanted && part_of(member.claim->id, wanted.parts) == wanted.part &&
          std::binary_search(marks.begin(), marks.end(),
                             MemberTable::mark_of(*member.claim, want.salt)))
        records.push_back({member.claim, member.status, 0});
    });
  }
  send_records(sender, std::move(records));
}

// Not told on: most of it is old, and who lacks it gets it the same way. A digest does not show who
// is dead, so the one who thinks them alive is told here.
void Membership::on(const Sender& sender, const Records& records) {
  std::vector<News> newer;
  for (const News& news : records.records) {
    if (news.id() == config_.id) {
      hear_of_self(news.claim->epoch, news.claim->incarnation, news.status);
      continue;
    }
    if (learn(news)) {
      ++gained_;
      if (news.status == MemberStatus::kSuspect) second(news);
    } else if (const Member* known = table_.find(news.id());
               known && !is_live(known->status) && is_live(news.status)) {
      newer.push_back({known->claim, known->status, 0});
    }
  }
  if (is_proven(sender) && !config_.observer) send_records(sender, std::move(newer));
}

}  // namespace p2p::gossip
