// Membership: two whose views differ exchange what differs. The one that notices sends its digests,
// a number a bucket. Who gets them answers for the buckets that differ: to one who lacks many, with
// the records themselves; else with a list of what it has, to which the first answers with what is
// newer here, and by asking for what is newer there. Nothing is kept in between: what is lost on
// the way differs again at the next sync.
#include <algorithm>

#include "crypto/digest.h"
#include "gossip/membership.h"

namespace p2p::gossip {
namespace {

// What brought so many is worth repeating at once.
constexpr std::size_t kMuch = 8;
// Who knows less than this share of the live ones is sent records unasked.
constexpr double kFewShare = 0.75;
constexpr std::size_t kHeadBytes = 8;  // of a packet before its items

Time jittered(Time from, Duration interval, Random& random) {
  return from + from_seconds(to_seconds(interval) * (2 + 2 * random.unit()) / 3);
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

bool Membership::has_much_to_gain() const { return gained_ >= kMuch || others() < kMuch; }

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
  if (!send_budgeted(to, digests)) return;
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

// In as many packets as it takes; false when the budget is used up.
bool Membership::send_records(const Sender& to, const std::vector<News>& records) {
  Records packet;
  std::size_t bytes = kHeadBytes;
  for (const News& news : records) {
    const std::size_t size = encoded_bytes(news);
    if (bytes + size > kMaxPacketBytes || packet.records.size() == kMaxNewsInPacket) {
      if (!send_budgeted(to, std::exchange(packet, {}))) return false;
      bytes = kHeadBytes;
    }
    bytes += size;
    packet.records.push_back(news);
  }
  return packet.records.empty() || send_budgeted(to, std::move(packet));
}

bool Membership::send_bucket(const Sender& to, std::size_t bucket) {
  std::size_t count = 0;
  table_.each_of_bucket(bucket, [&](const Member& member) { count += is_live(member.status); });
  // Twice the parts that are needed on average, so that hardly any is too full.
  std::uint32_t parts = 1;
  while (count * 3 / 2 > kMaxBucketEntries * parts && parts < kMaxBucketParts) parts *= 2;
  if (count <= kMaxBucketEntries) parts = 1;
  std::vector<Bucket> packets(parts);
  for (std::uint32_t i = 0; i < parts; ++i) {
    packets[i].bucket = static_cast<std::uint8_t>(bucket);
    packets[i].part = i;
    packets[i].parts = parts;
  }
  table_.each_of_bucket(bucket, [&](const Member& member) {
    if (!is_live(member.status)) return;
    const Claim& claim = *member.claim;
    packets[part_of(claim.id, parts)].entries.push_back(
        {tag_of(claim.id), claim.epoch, claim.incarnation});
  });
  for (Bucket& packet : packets) {
    if (packet.entries.size() > kMaxBucketEntries) continue;  // as good as lost
    if (!send_budgeted(to, std::move(packet))) return false;
  }
  return true;
}

void Membership::on(const Sender& sender, const Digests& digests) {
  if (digests.proof != 0 && digests.proof == challenge_of(sender)) prove(sender);
  if (!is_proven(sender) || config_.observer) return;
  const bool lacks_many =
      static_cast<double>(digests.live) < kFewShare * static_cast<double>(table_.live()) ||
      digests.live < kMuch;
  std::size_t packets = 0;
  const std::size_t first = random_.below(kBuckets);
  std::vector<News> records;
  for (std::size_t i = 0; i < kBuckets && packets < kMaxPacketsInAnswer; ++i) {
    const std::size_t bucket = (first + i) % kBuckets;
    if (MemberTable::short_digest(table_.digests()[bucket]) == digests.digests[bucket]) continue;
    if (lacks_many) {
      table_.each_of_bucket(bucket, [&](const Member& member) {
        if (is_live(member.status)) records.push_back({member.claim, member.status, 0});
      });
      packets = records.size() / (kMaxPacketBytes / 64);
    } else {
      if (!send_bucket(sender, bucket)) return;
      ++packets;
    }
  }
  send_records(sender, records);
}

void Membership::on(const Sender& sender, const Bucket& bucket) {
  if (!is_proven(sender)) return;
  std::vector<BucketEntry> theirs = bucket.entries;
  std::sort(theirs.begin(), theirs.end(),
            [](const BucketEntry& a, const BucketEntry& b) { return a.tag < b.tag; });
  std::vector<bool> known(theirs.size());
  std::vector<News> newer;
  Want want;
  table_.each_of_bucket(bucket.bucket, [&](const Member& member) {
    const Claim& claim = *member.claim;
    if (part_of(claim.id, bucket.parts) != bucket.part) return;
    const std::uint64_t tag = tag_of(claim.id);
    const auto entry =
        std::lower_bound(theirs.begin(), theirs.end(), tag,
                         [](const BucketEntry& e, std::uint64_t t) { return e.tag < t; });
    const News ours{member.claim, member.status, 0};
    if (entry == theirs.end() || entry->tag != tag) {
      if (is_live(member.status)) newer.push_back(ours);
      return;
    }
    known[static_cast<std::size_t>(entry - theirs.begin())] = true;
    const Rank listed{entry->epoch, entry->incarnation, MemberStatus::kSuspect};
    if (ours.rank() > listed)
      newer.push_back(ours);
    else if (listed.epoch > claim.epoch || listed.incarnation > claim.incarnation)
      want.tags.push_back(tag);
  });
  for (std::size_t i = 0; i < theirs.size(); ++i)
    if (!known[i]) want.tags.push_back(theirs[i].tag);
  if (!config_.observer && !send_records(sender, newer)) return;
  if (!want.tags.empty()) send_budgeted(sender, std::move(want));
}

void Membership::on(const Sender& sender, const Want& want) {
  if (!is_proven(sender) || config_.observer) return;
  std::vector<News> records;
  std::vector<std::uint64_t> tags = want.tags;
  std::sort(tags.begin(), tags.end());
  tags.erase(std::unique(tags.begin(), tags.end()), tags.end());
  for (const std::uint64_t tag : tags)
    table_.each_of_bucket(tag >> 56, [&](const Member& member) {
      if (tag_of(member.claim->id) == tag && records.size() < 2 * kMaxWanted)
        records.push_back({member.claim, member.status, 0});
    });
  send_records(sender, records);
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
  if (!newer.empty() && is_proven(sender) && !config_.observer) send_records(sender, newer);
}

}  // namespace p2p::gossip
