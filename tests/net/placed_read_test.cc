// Data frames whose payload is read straight to its place in a chunk: a guess from the frame's
// length, made before it is known whose data it is. Every chunk is checked against its hash.
#include <algorithm>
#include <catch2/catch.hpp>
#include <future>
#include <thread>

#include "net/chunk_inbox.h"
#include "tests/net/chunk_sender.h"

using namespace p2p;
using namespace p2p::net;
using namespace p2p::test;

namespace {

constexpr std::uint32_t kKiB = 1024;

// What is read of a frame before it gets a place.
constexpr std::size_t kBegun = 1000;

ByteView begin_of(const Bytes& frame) { return ByteView(frame).first(kBegun); }
ByteView end_of(const Bytes& frame) { return ByteView(frame).subspan(kBegun); }
ByteView first_half(const Bytes& frame) { return ByteView(frame).first(frame.size() / 2); }
ByteView second_half(const Bytes& frame) { return ByteView(frame).subspan(frame.size() / 2); }

std::vector<ChunkIndex> numbers_below(ChunkIndex end) {
  std::vector<ChunkIndex> numbers(end);
  for (ChunkIndex i = 0; i < end; ++i) numbers[i] = i;
  return numbers;
}

}  // namespace

// --- whose data it is

TEST_CASE("a frame read to where the chunk goes on, and begins another, goes to the other") {
  const RandomChunks content(3, 256 * kKiB);
  Receiver receiver(content);
  Sender sender(receiver, content);
  sender.ask(0);
  sender.ask(1);
  sender.deliver(sender.data(0, 0, 20'000));
  const Bytes begin = sender.data(1, 0, 100'000);
  sender.deliver(begin_of(begin));
  sender.deliver(end_of(begin));
  sender.send(sender.rest(1, 100'000));
  sender.check_verified(1);
  // The one that was given up comes right when it is sent anew.
  CHECK_FALSE(sender.verified(0));
  sender.check_transfer(0);
}

TEST_CASE("a frame that fits nowhere in the chunk begins another") {
  const RandomChunks content(3, 256 * kKiB);
  Receiver receiver(content);
  Sender sender(receiver, content);
  sender.ask(0);
  sender.ask(2);
  sender.deliver(sender.data(0, 0, 120 * kKiB));
  sender.deliver(sender.data(0, 120 * kKiB, 120 * kKiB));
  const Bytes begin = sender.data(2, 0, 100'000);
  sender.deliver(begin_of(begin));
  sender.deliver(end_of(begin));
  sender.send(sender.rest(2, 100'000));
  sender.check_verified(2);
  sender.check_transfer(0);
}

TEST_CASE("a chunk dropped while its frame is half read leaves the next ones right") {
  const RandomChunks content(4, 256 * kKiB);
  Receiver receiver(content);
  Sender sender(receiver, content), other(receiver, content);
  // The frame begins the chunk, or goes on with it.
  const std::uint32_t offset = GENERATE(0u, 20'000u);
  sender.ask(0);
  sender.ask(1);
  other.ask(2);
  if (offset > 0) sender.deliver(sender.data(0, 0, offset));
  const Bytes frame = sender.data(0, offset, 100'000);
  sender.deliver(first_half(frame));
  sender.drop(0);
  // The rest of the frame may not land in memory that another chunk has been given by now.
  other.deliver(other.data(2, 0, 120'000));
  sender.deliver(second_half(frame));
  SECTION("where the rest of it comes all the same") {
    sender.send(sender.rest(0, offset + 100'000));
  }
  SECTION("where it ends with a Reject") {
    sender.send(sender.peer().seal(peer::Message(peer::Reject{0, peer::RejectReason::kCancelled})));
  }
  SECTION("where another follows at once, in a frame read to where it would go on") {
    const Bytes next = sender.data(1, 0, 100'000);
    sender.deliver(first_half(next));
    sender.deliver(second_half(next));
    sender.send(sender.rest(1, 100'000));
    sender.check_verified(1);
  }
  if (!sender.verified(1)) {
    sender.send(sender.rest(1));
    sender.check_verified(1);
  }
  CHECK_FALSE(sender.verified(0));
  sender.check_transfer(0);
  other.send(other.rest(2, 120'000));
  other.check_verified(2);
}

// --- what ends while a frame is half read

TEST_CASE("a connection closed by the other side while a frame is half read holds up no other") {
  const RandomChunks content(3, 256 * kKiB);
  Receiver receiver(content);
  Sender other(receiver, content);
  other.ask(0);
  const Bytes others = other.data(0, 0, 100'000);
  other.deliver(first_half(others));
  ConnectionId closed = 0;
  {
    Sender sender(receiver, content);
    closed = sender.id();
    sender.ask(1);
    sender.deliver(first_half(sender.data(1, 0, 100'000)));
  }
  CHECK(receiver.wait_for<Closed>(closed).why.code == ErrorCode::kUnreachable);
  other.deliver(second_half(others));
  other.send(other.rest(0, 100'000));
  other.check_verified(0);
  other.check_transfer(1);
}

TEST_CASE("a connection that we close while a frame is half read takes no more of it") {
  const RandomChunks content(3, 256 * kKiB);
  Receiver receiver(content);
  Sender other(receiver, content);
  other.ask(0);
  const Bytes others = other.data(0, 0, 100'000);
  other.deliver(first_half(others));
  ConnectionId closed = 0;
  {
    Sender sender(receiver, content);
    closed = sender.id();
    sender.ask(1);
    const Bytes frame = sender.data(1, 0, 100'000);
    sender.deliver(first_half(frame));
    receiver.command([closed](Transport& transport) { transport.close(closed); });
    while (sender.peer().next_frame()) continue;  // to its end
    sender.deliver(second_half(frame));
    sender.deliver(sender.rest(1, 100'000));
    CHECK_FALSE(sender.verified(1));
  }
  receiver.wait_for<Closed>(closed);
  other.deliver(second_half(others));
  other.send(other.rest(0, 100'000));
  other.check_verified(0);
  other.check_transfer(1);
}

TEST_CASE("a transport ends while frames of its connections are half read") {
  const RandomChunks content(3, 256 * kKiB);
  std::optional<Receiver> receiver(std::in_place, content);
  Sender begins(*receiver, content), goes_on(*receiver, content);
  begins.ask(0);
  begins.deliver(first_half(begins.data(0, 0, 100'000)));
  goes_on.ask(1);
  goes_on.deliver(goes_on.data(1, 0, 20'000));
  goes_on.deliver(first_half(goes_on.data(1, 20'000, 100'000)));
  receiver.reset();
  CHECK_FALSE(begins.peer().next_frame().has_value());
  CHECK_FALSE(goes_on.peer().next_frame().has_value());
}

// --- pauses

TEST_CASE("reading that pauses while a frame is half read goes on with it") {
  // More chunks that cannot be read than events fit into the budget of a connection.
  constexpr ChunkIndex kUnreadable = 2 * kSmallBudget.unconsumed_bytes / kEventBytes;
  const RandomChunks content(kUnreadable, kMinChunkBytes);
  Receiver receiver(content);
  Sender sender(receiver, content), other(receiver, content);
  sender.ask(0);
  sender.deliver(sender.data(0, 0, 5000));
  const Bytes frame = sender.data(0, 5000, 30'000);
  sender.deliver(first_half(frame));

  // The control thread hangs, and events pile up.
  std::promise<void> go_on;
  receiver.command([&, id = sender.id(), hung = go_on.get_future().share()](Transport& transport) {
    for (ChunkIndex i = 0; i < kUnreadable; ++i) transport.send_chunk(id, i);
    hung.wait();
  });
  const auto end = Loop::now() + kSenderDeadline;
  while (content.disk->reads < kUnreadable && Loop::now() < end) std::this_thread::yield();
  Bytes late(second_half(frame).begin(), second_half(frame).end());
  Sender::append(late, sender.message(0));
  Sender::append(late, sender.rest(0, 35'000));
  Sender::append(late, sender.message(1));
  sender.send(late);
  sender.far().wait_until_received();
  other.deliver(other.message(0));  // by now the sender's would have been read
  CHECK(sender.far().unread() == late.size());

  go_on.set_value();
  sender.check_verified(0);
  receiver.wait_for<Received>(sender.id(), [](const Received& received) {
    return received.message == WireMessage(peer::Message(peer::Request{1}));
  });
  CHECK(sender.messages() == numbers_below(2));
  sender.check_transfer(1);
}

// --- what follows a frame

TEST_CASE("small messages behind the end of a frame are heard behind it and in order") {
  const RandomChunks content(2, 256 * kKiB);
  Receiver receiver(content);
  Sender sender(receiver, content);
  // Few fit into the read that ends the frame; of many, one is cut by its end.
  const ChunkIndex count = GENERATE(1u, 3u, 300u);
  sender.ask(0);
  const Bytes frame = sender.data(0, 0, 100'000);
  sender.deliver(begin_of(frame));
  sender.deliver(end_of(frame).first(70'000));
  Bytes rest(end_of(frame).begin() + 70'000, end_of(frame).end());
  for (ChunkIndex i = 0; i < count; ++i) Sender::append(rest, sender.message(i));
  sender.deliver(rest);  // nothing more comes for now
  receiver.wait_for<Received>(sender.id(), [&](const Received& received) {
    return received.message == WireMessage(peer::Message(peer::Request{count - 1}));
  });
  CHECK(sender.messages() == numbers_below(count));
  const std::vector<Event> events = receiver.heard(sender.id());
  const auto first = [&](auto is) { return std::find_if(events.begin(), events.end(), is); };
  const auto data = first([](const Event& e) { return std::holds_alternative<ChunkData>(e.what); });
  CHECK(data < first([](const Event& e) { return std::holds_alternative<Received>(e.what); }));
  REQUIRE(data != events.end());
  CHECK(std::get<ChunkData>(data->what).bytes == 100'000);
  sender.send(sender.rest(0, 100'000));
  sender.check_verified(0);
}

TEST_CASE("messages and the next chunk's frames behind a chunk's last frame come right") {
  const RandomChunks content(4, kMinChunkBytes);
  Receiver receiver(content);
  Sender sender(receiver, content);
  for (ChunkIndex i = 0; i < 4; ++i) sender.ask(i);
  Bytes all;
  for (ChunkIndex i = 0; i < 4; ++i) {
    Sender::append(all, sender.rest(i));
    Sender::append(all, sender.message(i));
  }
  sender.deliver(begin_of(all));
  sender.deliver(end_of(all));
  for (ChunkIndex i = 0; i < 4; ++i) sender.check_verified(i);
  receiver.wait_for<Received>(sender.id(), [](const Received& received) {
    return received.message == WireMessage(peer::Message(peer::Request{3}));
  });
  CHECK(sender.messages() == numbers_below(4));
}

// --- where the bytes are cut

TEST_CASE("a frame cut anywhere between two reads comes right") {
  constexpr std::uint32_t kFirst = 20'000, kSecond = 30'000;
  constexpr std::size_t kWhole = kSecond + kDataHeaderBytes + kFrameOverheadBytes;
  constexpr std::size_t kHeads = kFrameHeaderBytes + kDataHeaderBytes;
  const std::vector<std::size_t> cuts{1,
                                      3,
                                      4,
                                      5,
                                      11,
                                      12,
                                      13,
                                      28,
                                      29,
                                      kReadBytes - 1,
                                      kReadBytes,
                                      kReadBytes + 1,
                                      kWhole - 17,
                                      kWhole - kFrameTagBytes,
                                      kWhole - 1,
                                      kWhole,
                                      kWhole + 1,
                                      kWhole + 3,
                                      kWhole + 4,
                                      kWhole + kHeads - 1,
                                      kWhole + kHeads,
                                      kWhole + kHeads + 1};
  const auto count = static_cast<ChunkIndex>(2 * cuts.size());
  const RandomChunks content(count + 1, kMinChunkBytes);
  Receiver receiver(content);
  Sender sender(receiver, content);
  for (ChunkIndex i = 0; i < count; ++i) {
    sender.ask(i);
    Bytes before = sender.data(i, 0, kFirst);
    Bytes all = sender.data(i, kFirst, kSecond);
    REQUIRE(all.size() == kWhole);
    Sender::append(all, sender.rest(i, kFirst + kSecond));
    const std::size_t cut = cuts[i / 2];
    INFO("cut at byte " << cut);
    // What comes before has a read of its own, or is read with the first part.
    if (i % 2 == 0) sender.deliver(std::exchange(before, {}));
    Sender::append(before, ByteView(all).first(cut));
    sender.deliver(before);
    sender.deliver(ByteView(all).subspan(cut));
    sender.check_verified(i);
  }
}

TEST_CASE("a frame's head and tag come right byte by byte") {
  constexpr std::uint32_t kFirst = 100;
  const RandomChunks content(2, kMinChunkBytes);
  Receiver receiver(content);
  Sender sender(receiver, content);
  const std::uint32_t size = GENERATE(1u, 2u, 30'000u);
  sender.ask(0);
  sender.deliver(sender.data(0, 0, kFirst));
  const Bytes frame = sender.data(0, kFirst, size);
  for (std::size_t at = 0; at < frame.size();) {
    const bool head = at < 20, tag = at + 20 >= frame.size();
    const std::size_t bytes = head || tag ? 1 : frame.size() - 20 - at;
    sender.deliver(ByteView(frame).subspan(at, bytes));
    at += bytes;
  }
  sender.send(sender.rest(0, kFirst + size));
  sender.check_verified(0);
}

TEST_CASE("chunks in frames and reads of any size come right, with messages among them") {
  constexpr ChunkIndex kChunks = 20;
  const auto seed = GENERATE(1u, 2u, 3u);
  const RandomChunks content(kChunks, kMinChunkBytes);
  Receiver receiver(content);
  Sender sender(receiver, content);
  for (ChunkIndex i = 0; i < kChunks; ++i) sender.ask(i);
  Random random(seed);
  const auto any_size = [&] { return 1 + random.below(random.chance(0.3) ? 60 : 50'000); };
  Bytes all;
  ChunkIndex messages = 0;
  for (ChunkIndex i = 0; i < kChunks; ++i) {
    for (std::uint32_t at = 0; at < content.length_of(i);) {
      const auto size = static_cast<std::uint32_t>(
          std::min<std::uint64_t>(any_size(), content.length_of(i) - at));
      Sender::append(all, sender.data(i, at, size));
      at += size;
      if (random.chance(0.5)) Sender::append(all, sender.message(messages++));
    }
  }
  Sender::append(all, sender.message(messages++));
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t bytes = std::min<std::size_t>(any_size(), all.size() - at);
    sender.deliver(ByteView(all).subspan(at, bytes));
    at += bytes;
  }
  for (ChunkIndex i = 0; i < kChunks; ++i) sender.check_verified(i);
  receiver.wait_for<Received>(sender.id(), [&](const Received& received) {
    return received.message == WireMessage(peer::Message(peer::Request{messages - 1}));
  });
  CHECK(sender.messages() == numbers_below(messages));
}

// --- what stops half-way

TEST_CASE("a frame that stops half-way ends its connection at the timeout, and no other") {
  ConnectionTimeouts timeouts;
  timeouts.frame = std::chrono::seconds(1);
  const RandomChunks content(4, 256 * kKiB);
  Receiver receiver(content, timeouts);
  Sender sender(receiver, content), other(receiver, content);
  sender.ask(0);
  Time begun{};
  SECTION("the largest message") {
    // After Join it may be as large as that.
    const peer::Message join(peer::Join{});
    sender.deliver(sender.peer().seal(join));
    const Bytes message = sender.peer().seal(FrameKind::kMessage, Bytes(kMaxMessageBytes));
    begun = Loop::now();
    sender.deliver(first_half(message));
  }
  SECTION("data that begins a chunk") {
    const Bytes frame = sender.data(0, 0, kMaxDataPayloadBytes);
    begun = Loop::now();
    sender.deliver(first_half(frame));
  }
  SECTION("data that goes on with a chunk") {
    sender.deliver(sender.data(0, 0, 20'000));
    const Bytes frame = sender.data(0, 20'000, kMaxDataPayloadBytes);
    begun = Loop::now();
    sender.deliver(first_half(frame));
  }
  other.check_transfer(1);
  const Closed closed = receiver.wait_for<Closed>(sender.id());
  CHECK(closed.why.message.find("stopped in the middle") != std::string::npos);
  CHECK(Loop::now() - begun >= timeouts.frame);
  other.check_transfer(2);
  other.check_transfer(0);
}

TEST_CASE("frames that keep coming are within the timeout, though one is always half read") {
  constexpr std::uint32_t kSize = 100;
  ConnectionTimeouts timeouts;
  timeouts.frame = std::chrono::seconds(1);
  const RandomChunks content(2, kMaxChunkBytes);
  Receiver receiver(content, timeouts);
  Sender sender(receiver, content);
  sender.ask(0);
  const Time end = Loop::now() + timeouts.frame * 3 / 2;
  Bytes bytes;
  std::uint32_t at = 0;
  for (; Loop::now() < end && at + kSize < kMaxChunkBytes; at += kSize) {
    const Bytes frame = sender.data(0, at, kSize);
    Sender::append(bytes, first_half(frame));
    sender.deliver(bytes);
    bytes.assign(second_half(frame).begin(), second_half(frame).end());
  }
  Sender::append(bytes, sender.rest(0, at));
  sender.send(bytes);
  sender.check_verified(0);
}
