// EventQueue: what is going to happen, in order of time; what happens at one moment, in the order
// in which it was scheduled. A heap with four children a node: shallow, and a node's children share
// a cache line or two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/time.h"

namespace p2p::sim {

enum class EventKind : std::uint8_t {
  kMessage,       // a: the slot of the message in flight
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
  kCount,
};

struct Event {
  Time at;
  std::uint64_t order;  // of scheduling
  EventKind kind;
  std::uint32_t a = 0, b = 0, c = 0;
};

class EventQueue {
 public:
  bool empty() const { return heap_.empty(); }
  std::size_t size() const { return heap_.size(); }
  Time next_at() const { return heap_.front().at; }

  void push(Time at, EventKind kind, std::uint32_t a = 0, std::uint32_t b = 0,
            std::uint32_t c = 0) {
    Event event{at, orders_++, kind, a, b, c};
    std::size_t hole = heap_.size();
    heap_.push_back(event);
    while (hole > 0) {
      const std::size_t parent = (hole - 1) / 4;
      if (!before(event, heap_[parent])) break;
      heap_[hole] = heap_[parent];
      hole = parent;
    }
    heap_[hole] = event;
  }

  Event pop() {
    P2P_CHECK(!heap_.empty());
    const Event first = heap_.front();
    const Event last = heap_.back();
    heap_.pop_back();
    const std::size_t size = heap_.size();
    std::size_t hole = 0;
    while (size > 0) {
      const std::size_t child = 4 * hole + 1;
      if (child >= size) break;
      std::size_t best = child;
      const std::size_t end = child + 4 < size ? child + 4 : size;
      for (std::size_t i = child + 1; i < end; ++i)
        if (before(heap_[i], heap_[best])) best = i;
      if (!before(heap_[best], last)) break;
      heap_[hole] = heap_[best];
      hole = best;
    }
    if (size > 0) heap_[hole] = last;
    return first;
  }

 private:
  static bool before(const Event& a, const Event& b) {
    return a.at != b.at ? a.at < b.at : a.order < b.order;
  }

  std::vector<Event> heap_;
  std::uint64_t orders_ = 0;
};

}  // namespace p2p::sim
