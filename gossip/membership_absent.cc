// Membership: who is not alive, for one who looks on. Syncs bring the live ones alone: what the
// dead had to do with each other is nobody's business any more, and a digest of them would differ
// for a day. So it is asked for, page by page; who is asked keeps nothing of it.
#include <algorithm>

#include "gossip/membership.h"

namespace p2p::gossip {
namespace {

constexpr std::size_t kHeadBytes = 14;  // of an Absent before its members, at most
constexpr std::size_t kAgeBytes = 5;

}  // namespace

void Membership::ask_absent(Time now) {
  advance(now);
  if (left_) return;
  std::vector<MemberKey> members;
  for (const Member& member : table_.members())
    if (is_live(member.status) && member.claim->id != config_.id) members.push_back(member.key());
  const std::size_t count = std::min(members.size(), kAbsentCandidates);
  std::partial_sort(members.begin(), members.begin() + static_cast<std::ptrdiff_t>(count),
                    members.end(),
                    [](const MemberKey& a, const MemberKey& b) { return a.epoch < b.epoch; });
  members.resize(count);
  absent_.emplace();
  absent_->members = std::move(members);
  ask_next_absent();
}

// A ping first, which shows that it is there, and gets the proof of where we are.
void Membership::ask_next_absent() {
  for (; absent_->place < absent_->members.size(); ++absent_->place, absent_->from = 0) {
    if (absent_->answers == kAskedForAbsent) break;
    const MemberKey& key = absent_->members[absent_->place];
    const Member* member = table_.find(key.id);
    if (!member || member->key() != key) continue;
    absent_->number = 0;
    absent_->until = now_ + kAbsentTimeout;
    ping(key, member->claim->endpoint, Purpose::kAbsent);
    return;
  }
  actions_.emplace_back(AbsentKnown{absent_->answers});
  absent_.reset();
}

void Membership::ask_absent_page() {
  const MemberKey& key = absent_->members[absent_->place];
  const Member* member = table_.find(key.id);
  if (!member || member->key() != key) return end_absent_member(false);
  absent_->number = fresh_number();
  absent_->until = now_ + kAbsentTimeout;
  send(member->claim->endpoint, key, AskAbsent{absent_->number, absent_->proof, absent_->from});
}

void Membership::end_absent_member(bool answered) {
  absent_->answers += answered;
  absent_->failures = 0;
  absent_->from = 0;
  ++absent_->place;
  ask_next_absent();
}

// A packet was lost, or it has sent all that it may for now.
void Membership::fail_absent() {
  if (++absent_->failures >= kAbsentTries) return end_absent_member(false);
  ask_next_absent();
}

void Membership::on(const Sender& sender, const AskAbsent& ask) {
  if (ask.proof != 0 && ask.proof == challenge_of(sender)) prove(sender);
  if (!is_proven(sender) || config_.observer) return;
  Absent answer{ask.number, false, {}};
  std::size_t bytes = kHeadBytes;
  for (std::size_t bucket = ask.from >> 56; bucket < kBuckets && !answer.more; ++bucket) {
    std::vector<const Member*> found;
    table_.each_of_bucket(bucket, [&](const Member& member) {
      if (member.status != MemberStatus::kAlive && tag_of(member.claim->id) >= ask.from)
        found.push_back(&member);
    });
    std::sort(found.begin(), found.end(),
              [](const Member* a, const Member* b) { return a->claim->id < b->claim->id; });
    for (const Member* member : found) {
      const auto seconds = static_cast<std::uint32_t>(to_seconds(now_ - member->since));
      const News news{member->claim, member->status, 0};
      bytes += encoded_bytes(news) + kAgeBytes;
      answer.more = bytes > kMaxPacketBytes || answer.members.size() == kMaxNewsInPacket;
      if (answer.more) break;
      answer.members.push_back({news, seconds});
    }
  }
  send_budgeted(sender, std::move(answer));
}

void Membership::on(const Sender& sender, const Absent& absent) {
  if (!absent_ || absent_->number == 0 || absent.number != absent_->number ||
      absent_->members[absent_->place] != MemberKey{sender.id, sender.epoch})
    return;
  for (const AbsentMember& member : absent.members) learn_absent(member);
  absent_->failures = 0;
  if (!absent.more || absent.members.empty()) return end_absent_member(true);
  const std::uint64_t last = tag_of(absent.members.back().news.id());
  // A page that brings us no further would be asked for for ever.
  if (last < absent_->from || last == ~std::uint64_t{0}) return end_absent_member(true);
  absent_->from = last + 1;
  ask_absent_page();
}

// The one that knew it first knows best since when.
void Membership::learn_absent(const AbsentMember& absent) {
  if (absent.news.id() == config_.id) return;
  const Time since = now_ - std::chrono::seconds(absent.seconds);
  const bool is_new = learn(absent.news);
  Member* member = table_.find(absent.news.id());
  if (!member || member->rank() != absent.news.rank()) return;
  member->since = is_new ? since : std::min(member->since, since);
}

}  // namespace p2p::gossip
