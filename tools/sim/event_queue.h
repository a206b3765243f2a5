// EventQueue: what is going to happen, in order of time; what happens at one moment, in the order
// in which it was scheduled.
//
// Most events come one usual delay (the latency) after they were scheduled: these are in order
// already and stand in a ring. The others stand in a heap, which is kept small enough for the
// cache: what is to happen later than the next moment waits, unsorted, in a bucket for its moment,
// and what is later than the last bucket in a heap of its own. The next few events are sorted out
// ahead, so that the memory that they need can be fetched before it is their turn.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/time.h"

namespace p2p::sim {

enum class EventKind : std::uint8_t {
  kMessage,       // a: end that receives, b: the slot of the message in flight
  kData,          // a: end that receives, b: chunk, c: bytes
  kFlowEnd,       // a: end that sends
  kChunkArrived,  // a: end that receives, b: chunk, c: bytes that it was not told of yet
  kVerified,      // a: end that received, b: chunk, c: the host's life
  kProgress,      // a: end that sends
  kSendStopped,   // a: end that sends, b: chunk
  kUnreadable,    // a: end that sends, b: chunk
  kClosed,        // a: end whose other side has closed, or did not answer the dial
  kHostTimer,     // a: host
  kDialArrived,   // a: end that was dialled
  kArrive,        // a: host
  kKill,          // a: host
  kRestart,       // a: host
  kLeave,         // a: host, c: its life
  kOwnerUp,       // a: host, b: owner, c: the host's life: its connection is to come up
  kOwnerGone,     // a: owner connection; its host hears that it is gone
  kOwnerLost,     // a: owner connection; its owner does
  kToOwner,       // a: the slot of the message
  kFromOwner,     // a: the slot of the message
  kOwnerTimer,    // a: owner
  kTrackerDown,
  kTrackerUp,
  kListed,  // a: its number in the scenario's list
  kCount,
};

struct Event {
  Event(Time when, std::uint64_t order, EventKind what, std::uint32_t first = 0,
        std::uint32_t second = 0, std::uint32_t third = 0)
      : at(when),
        order_and_kind(order << 8 | static_cast<std::uint8_t>(what)),
        a(first),
        b(second),
        c(third) {}
  Event() : Event(Time{}, 0, EventKind::kCount) {}

  EventKind kind() const { return static_cast<EventKind>(order_and_kind & 0xff); }
  bool before(const Event& other) const {
    return at != other.at ? at < other.at : order_and_kind < other.order_and_kind;
  }

  Time at;
  std::uint64_t order_and_kind;  // of scheduling; the kind in the lowest byte
  std::uint32_t a, b, c;
};
static_assert(sizeof(Event) == 32);

// A queue in a ring that grows.
class EventRing {
 public:
  bool empty() const { return size_ == 0; }
  std::size_t size() const { return size_; }
  Event& operator[](std::size_t place) { return events_[(first_ + place) & (events_.size() - 1)]; }
  const Event& operator[](std::size_t place) const {
    return events_[(first_ + place) & (events_.size() - 1)];
  }
  const Event& back() const { return (*this)[size_ - 1]; }
  void push_back(const Event& event) {
    if (size_ == events_.size()) grow();
    ++size_;
    (*this)[size_ - 1] = event;
  }
  Event pop_front() {
    const Event event = (*this)[0];
    ++first_;
    --size_;
    return event;
  }
  Event pop_back() { return (*this)[--size_]; }

 private:
  void grow() {
    std::vector<Event> larger(2 * events_.size());
    for (std::size_t i = 0; i < size_; ++i) larger[i] = (*this)[i];
    events_ = std::move(larger);
    first_ = 0;
  }

  std::vector<Event> events_ = std::vector<Event>(64);  // a power of two
  std::size_t first_ = 0, size_ = 0;
};

// A heap with four children a node: shallow, and a node's children share a few cache lines.
class EventHeap {
 public:
  bool empty() const { return events_.empty(); }
  std::size_t size() const { return events_.size(); }
  const Event& front() const { return events_.front(); }

  void push(const Event& event) {
    std::size_t hole = events_.size();
    events_.push_back(event);
    while (hole > 0) {
      const std::size_t parent = (hole - 1) / 4;
      if (!event.before(events_[parent])) break;
      events_[hole] = events_[parent];
      hole = parent;
    }
    events_[hole] = event;
  }

  Event pop() {
    const Event first = events_.front();
    const Event last = events_.back();
    events_.pop_back();
    const std::size_t size = events_.size();
    std::size_t hole = 0;
    while (size > 0) {
      const std::size_t child = 4 * hole + 1;
      if (child >= size) break;
      std::size_t best = child;
      const std::size_t end = std::min(child + 4, size);
      for (std::size_t i = child + 1; i < end; ++i)
        if (events_[i].before(events_[best])) best = i;
      if (!events_[best].before(last)) break;
      events_[hole] = events_[best];
      hole = best;
    }
    if (size > 0) events_[hole] = last;
    return first;
  }

 private:
  std::vector<Event> events_;
};

class EventQueue {
 public:
  // So many events are known ahead.
  static constexpr std::size_t kAhead = 20;

  explicit EventQueue(Duration usual_delay = {})
      : usual_delay_(usual_delay), moment_(std::max(usual_delay / kMomentsEach, Duration{1})) {}

  bool empty() const { return size() == 0; }
  std::size_t size() const {
    return ahead_.size() + usual_.size() + soon_.size() + in_buckets_ + later_.size();
  }
  Time next_at() {
    refill();
    return ahead_[0].at;
  }
  // Those that come next, the first at 0; nothing where it is not known. One that is scheduled
  // later may still come in between.
  const Event* ahead(std::size_t place) const {
    return place < ahead_.size() ? &ahead_[place] : nullptr;
  }

  // Not before the event that was popped last.
  void push(Time at, EventKind kind, std::uint32_t a = 0, std::uint32_t b = 0,
            std::uint32_t c = 0) {
    P2P_CHECK(at >= now_);
    const Event event(at, orders_++, kind, a, b, c);
    if (!ahead_.empty() && event.before(ahead_.back()))
      insert_ahead(event);
    else if (at == now_ + usual_delay_)
      usual_.push_back(event);
    else
      put(event);
  }

  Event pop() {
    refill();
    P2P_CHECK(!ahead_.empty());
    const Event first = ahead_.pop_front();
    now_ = first.at;
    refill();
    return first;
  }

 private:
  static constexpr int kMomentsEach = 8;  // usual delay
  static constexpr std::size_t kBuckets = 4096;

  void refill() {
    while (ahead_.size() < kAhead && ahead_.size() < size()) {
      const Event* first = earliest();
      // While there may be an earlier one in the buckets, the next of them is sorted.
      while (in_buckets_ > 0 && (first == nullptr || first->at >= sorted_until_)) {
        sort_bucket();
        first = earliest();
      }
      if (!usual_.empty() && first == &usual_[0])
        ahead_.push_back(usual_.pop_front());
      else
        ahead_.push_back(!soon_.empty() && first == &soon_.front() ? soon_.pop() : later_.pop());
    }
  }

  // Of those in order; nothing when there is none.
  const Event* earliest() const {
    const Event* first = usual_.empty() ? nullptr : &usual_[0];
    for (const EventHeap* heap : {&soon_, &later_})
      if (!heap->empty() && (first == nullptr || heap->front().before(*first)))
        first = &heap->front();
    return first;
  }

  std::vector<Event>& bucket_of(Time at) {
    return buckets_[static_cast<std::size_t>(at.time_since_epoch() / moment_) % kBuckets];
  }

  void put(const Event& event) {
    if (in_buckets_ == 0) {
      // The buckets begin anew at the next moment.
      sorted_until_ = std::max(sorted_until_, Time{now_.time_since_epoch() / moment_ * moment_});
    }
    if (event.at < sorted_until_) {
      soon_.push(event);
    } else if (event.at < sorted_until_ + (kBuckets - 1) * moment_) {
      bucket_of(event.at).push_back(event);
      ++in_buckets_;
    } else {
      later_.push(event);
    }
  }

  void sort_bucket() {
    std::vector<Event>& bucket = bucket_of(sorted_until_);
    for (const Event& event : bucket) soon_.push(event);
    in_buckets_ -= bucket.size();
    bucket.clear();
    sorted_until_ += moment_;
  }

  void insert_ahead(const Event& event) {
    ahead_.push_back(event);
    std::size_t place = ahead_.size() - 1;
    for (; place > 0 && event.before(ahead_[place - 1]); --place) ahead_[place] = ahead_[place - 1];
    ahead_[place] = event;
    if (ahead_.size() > 2 * kAhead) put(ahead_.pop_back());
  }

  Duration usual_delay_;
  Duration moment_;  // of a bucket
  Time now_{};       // of the event that was popped last
  EventRing ahead_;  // the next ones; then those of:
  EventRing usual_;
  EventHeap soon_, later_;
  std::vector<std::vector<Event>> buckets_ = std::vector<std::vector<Event>>(kBuckets);
  std::size_t in_buckets_ = 0;
  Time sorted_until_{};  // earlier events are in no bucket; a whole number of moments
  std::uint64_t orders_ = 0;
};

}  // namespace p2p::sim
