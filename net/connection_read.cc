#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "crypto/digest.h"
#include "net/connection.h"
#include "net/lane.h"
#include "net/socket_error.h"

namespace p2p::net {
namespace {

// A read to a frame's place may take in so much of what follows.
constexpr std::size_t kLookAheadBytes = ChunkBuffer::kBehind - kFrameTagBytes;

// The ranges of a chunk that were not sent, from older contents. False: they cannot be read.
bool fill_in(const ContentIo& io, ChunkIndex chunk, MutableBytes bytes,
             std::uint32_t& known_bytes) {
  const PartialChunk* const partial = io.reuse ? io.reuse->partial_of(chunk) : nullptr;
  if (!partial || !io.reuse->fill(chunk, bytes)) return false;
  known_bytes = static_cast<std::uint32_t>(bytes.size() - bytes_of_ranges(partial->missing));
  return true;
}

}  // namespace

void Connection::read_on() {
  lagging_ = false;
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(&socket_),
      [](uv_handle_t* handle, std::size_t, uv_buf_t* buffer) {
        *buffer = static_cast<Connection*>(handle->data)->place_of_read();
      },
      [](uv_stream_t* stream, ssize_t count, const uv_buf_t*) {
        static_cast<Connection*>(stream->data)->on_read(count);
      });
}

void Connection::pause() { uv_read_stop(reinterpret_cast<uv_stream_t*>(&socket_)); }

void Connection::resume() {
  process_unread();
  if (!closed_ && !lagging_ && !held_down_) read_on();
}

// Who has not joined sends little, and must be heard in time; who is leaving ends soon.
void Connection::count_read(std::size_t bytes) {
  const Time now = Loop::now();
  if (down_.receive(bytes, now) || budget_ != &kSwarmBudget || finishing_) return;
  held_down_ = true;
  held_since_ = now;
  pause();
  lane_.wait_for_bandwidth(weak_from_this(), Flow::kDown, down_.due());
}

void Connection::consumed(std::size_t weight) {
  unconsumed_ -= std::min(weight, unconsumed_);
  if (!lagging_ || closed_ || unconsumed_ > budget_->unconsumed_bytes / 2) return;
  lagging_ = false;
  ++frames_;  // the time that we did not read is not held against the frame that has begun
  resume();
}

// Small frames are read to the lane's one buffer, behind what this connection had left: so it holds
// what it was sent of an unfinished frame, and no byte more. What it was sent of a large one is not
// copied again for each read: those go behind it.
uv_buf_t Connection::place_of_read() {
  const auto at = [this](std::uint8_t* to, std::size_t bytes) {
    if (down_.limits()) bytes = std::min(bytes, down_.slice());
    return uv_buf_init(reinterpret_cast<char*>(to), static_cast<unsigned>(bytes));
  };
  if (placed_)
    return at(placed_->start + placed_->have, placed_->whole - placed_->have + kLookAheadBytes);
  const std::size_t have = unread_.size();
  if (have >= kReadBytes) {
    unread_.resize(have + kReadBytes);
    grown_ = true;
    return at(unread_.data() + have, kReadBytes);
  }
  const MutableBytes all = lane_.read_buffer();
  std::copy(unread_.begin(), unread_.end(), all.begin());
  return at(all.data() + have, kReadBytes);
}

void Connection::on_read(ssize_t count) {
  const auto bytes = static_cast<std::size_t>(std::max<ssize_t>(count, 0));
  const bool grown = std::exchange(grown_, false);
  if (grown) unread_.resize(unread_.size() - kReadBytes + bytes);
  if (count == 0) return;  // nothing there after all
  if (count == UV_EOF)
    return close(Error{ErrorCode::kUnreachable,
                       absl::StrCat(remote_.to_string(), " closed the connection")});
  if (count < 0)
    return close(socket_error("lost the connection to", remote_, static_cast<int>(count)));
  if (down_.limits()) count_read(bytes);
  if (placed_) return on_placed_read(bytes);
  if (grown) return process_unread();
  process_and_keep(lane_.read_buffer().first(unread_.size() + bytes));
}

void Connection::on_placed_read(std::size_t count) {
  placed_->have += count;
  if (placed_->have < placed_->whole) return;
  // What was taken in of the next frames.
  const ByteView behind(placed_->start + placed_->whole, placed_->have - placed_->whole);
  const MutableBytes data = lane_.read_buffer().first(behind.size());
  std::copy(behind.begin(), behind.end(), data.begin());
  const auto body = session_->opener.open(MutableBytes(placed_->start, placed_->whole));
  if (!body) {
    break_off(body.error());
    return;
  }
  ++frames_;
  if (on_data_frame(*body)) process_and_keep(data);
}

void Connection::process_unread() {
  Bytes waiting = std::exchange(unread_, {});
  const std::size_t used = process(waiting);
  if (closed_) return;
  if (used > 0) return keep(ByteView(waiting).subspan(used));
  if (!place(waiting)) unread_ = std::move(waiting);
  watch_frame();
}

void Connection::process_and_keep(MutableBytes data) {
  const std::size_t used = process(data);
  if (!closed_) keep(data.subspan(used));
}

void Connection::keep(ByteView rest) {
  unread_ = {};  // an idle connection holds no memory
  if (!place(rest)) unread_.assign(rest.begin(), rest.end());
  watch_frame();
}

bool Connection::place(ByteView begun) {
  if (!session_ || finishing_ || lagging_ || begun.size() < kFrameHeaderBytes) return false;
  const auto header = parse_frame_header(begun);
  if (!header || header->kind != FrameKind::kData || !check(*header)) return false;
  ChunkInbox::Place where = inbox_.place_for(header->body_bytes - kDataHeaderBytes, io_->layout);
  if (!where.buffer) return false;
  placed_.emplace();
  placed_->buffer = std::move(where.buffer);
  placed_->start = where.payload - placed_->under_head.size();
  placed_->whole = header->body_bytes + kFrameOverheadBytes;
  placed_->have = begun.size();
  std::memcpy(placed_->under_head.data(), placed_->start, placed_->under_head.size());
  std::memcpy(placed_->start, begun.data(), begun.size());
  return true;
}

Status Connection::check(const FrameHeader& header) const {
  if (header.kind == FrameKind::kMessage) {
    if (header.body_bytes <= budget_->message_bytes) return {};
    return Error{ErrorCode::kLimit, "a message that is too long"};
  }
  if (!io_ || !io_->writer || !inbox_.expects_data())
    return Error{ErrorCode::kMalformed, "sends chunks that nobody asked for"};
  if (header.body_bytes <= kDataHeaderBytes)
    return Error{ErrorCode::kMalformed, "a data frame without data"};
  return {};
}

void Connection::watch_frame() {
  if (!session_ || lagging_ || frame_watched_ || (unread_.empty() && !placed_)) return;
  watch_frame_for(lane_.frame_time());
}

void Connection::watch_frame_for(Duration time) {
  frame_watched_ = true;
  held_for_ = Duration{0};
  held_since_ = Loop::now();
  lane_.watch_frame(weak_from_this(), frames_, time);
}

void Connection::check_frame(std::uint64_t frames) {
  frame_watched_ = false;
  if (closed_) return;
  if (frames_ != frames || lagging_ || (unread_.empty() && !placed_)) return watch_frame();
  // What we did not read, to keep to our limits, is not held against it.
  const Duration held = held_for_ + (held_down_ ? Loop::now() - held_since_ : Duration{0});
  if (held > Duration::zero()) return watch_frame_for(std::min(held, lane_.frame_time()));
  close(Error{ErrorCode::kUnreachable,
              absl::StrCat(remote_.to_string(), " stopped in the middle of a message")});
}

std::size_t Connection::process(MutableBytes data) {
  std::size_t used = 0;
  if (handshake_ && !finishing_) used = shake_hands(data);
  while (session_ && !closed_ && !finishing_ && !lagging_) {
    const MutableBytes rest = data.subspan(used);
    if (rest.size() < kFrameHeaderBytes) break;
    const auto header = parse_frame_header(rest);
    if (!header) {
      break_off(header.error());
      break;
    }
    if (const Status fine = check(*header); !fine) {
      break_off(fine.error());
      break;
    }
    const std::size_t whole = header->body_bytes + kFrameOverheadBytes;
    if (rest.size() < whole) break;
    const auto body = session_->opener.open(rest.first(whole));
    if (!body) {
      break_off(body.error());
      break;
    }
    used += whole;
    ++frames_;
    if (!on_frame(header->kind, *body)) break;
  }
  if (!closed_) tell_progress();
  return finishing_ ? data.size() : used;  // nobody wants the rest of what ends
}

bool Connection::break_off(const Error& why) {
  close(Error{why.code, absl::StrCat(remote_.to_string(), ": ", why.message)});
  return false;
}

bool Connection::on_frame(FrameKind kind, ByteView body) {
  return kind == FrameKind::kData ? on_data_frame(body) : on_message_frame(body);
}

bool Connection::on_message_frame(ByteView body) {
  auto message = decode_wire(body);
  if (!message)
    return break_off(
        Error{message.error().code, absl::StrCat("a bad message: ", message.error().message)});
  if (!note_incoming(*message)) return false;
  tell(Received{std::move(*message)}, body.size());
  return true;
}

bool Connection::note_incoming(const WireMessage& message) {
  const auto* swarm = std::get_if<peer::Message>(&message);
  if (!swarm) return true;
  if (std::holds_alternative<peer::Join>(*swarm)) budget_ = &kSwarmBudget;
  if (const auto* reject = std::get_if<peer::Reject>(swarm)) {
    reject->chunk == peer::kAnyChunk ? inbox_.on_any_rejected() : inbox_.on_reject(reject->chunk);
  } else if (const auto* partial = std::get_if<peer::Partial>(swarm)) {
    if (!io_) return break_off(Error{ErrorCode::kMalformed, "lacks parts of an unknown content"});
    if (const Status sound = lacks_.on_partial(*partial, io_->layout); !sound)
      return break_off(sound.error());
  } else if (const auto* give = std::get_if<peer::Give>(swarm)) {
    if (!io_) return break_off(Error{ErrorCode::kMalformed, "gives a chunk before it was asked"});
    if (const Status given = inbox_.on_give(give->chunk, io_->layout); !given)
      return break_off(given.error());
  }
  return true;
}

void Connection::note_outgoing(const WireMessage& message) {
  const auto* swarm = std::get_if<peer::Message>(&message);
  if (!swarm) return;
  if (const auto* request = std::get_if<peer::Request>(swarm))
    request->chunk == peer::kAnyChunk ? inbox_.on_requested_any()
                                      : inbox_.on_requested(request->chunk);
  else if (const auto* partial = std::get_if<peer::Partial>(swarm))
    inbox_.on_partial(*partial, io_->layout);
}

bool Connection::on_data_frame(ByteView body) {
  const ChunkIndex chunk = get_u32(body.data());
  const std::uint32_t offset = get_u32(body.data() + 4);
  if (placed_) std::memcpy(placed_->start, placed_->under_head.data(), placed_->under_head.size());
  auto received = inbox_.on_data(chunk, offset, body.subspan(kDataHeaderBytes), io_->layout);
  placed_.reset();
  if (!received) return break_off(received.error());
  // Told once for as many frames as came together: a frame may be a single byte.
  const auto fate = received->dropped ? ChunkData::Fate::kDropped : ChunkData::Fate::kKept;
  if (progress_ && (progress_->chunk != chunk || progress_->fate != fate)) tell_progress();
  if (!progress_) progress_ = ChunkData{chunk, 0, fate};
  progress_->bytes += received->bytes;
  if (received->whole) store(chunk, std::move(received->whole), received->partial);
  return true;
}

void Connection::store(ChunkIndex chunk, BufferRef whole, bool partial) {
  progress_->fate = ChunkData::Fate::kWhole;
  tell_progress();
  // The verdict weighs nothing: there are no more of these than chunks that were asked for.
  lane_.writer().post([&lane = lane_, id = id_, io = io_, chunk, partial, whole = std::move(whole),
                       held = verdicts_] {
    const MutableBytes bytes(whole->payload(), io->layout.length_of(chunk));
    std::uint32_t known_bytes = 0;
    const bool filled = !partial || fill_in(*io, chunk, bytes, known_bytes);
    if (!filled || chunk_digest(bytes) != io->manifest->chunk_hashes[chunk])
      lane.emit(partial ? Event{id, ChunkMisfit{chunk}} : Event{id, ChunkCorrupt{chunk}});
    else if (Status written = io->writer->write_chunk(chunk, bytes); !written)
      lane.emit(Event{id, ChunkUnstored{chunk, std::move(written).error()}});
    else
      lane.emit(Event{id, ChunkVerified{chunk, known_bytes}});
  });
}

}  // namespace p2p::net
