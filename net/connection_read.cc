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

}  // namespace

void Connection::read_on() {
  lagging_ = no_room_ = false;
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
  Bytes waiting = std::exchange(unread_, {});
  const std::size_t used = process(waiting);
  if (closed_) return;
  keep(ByteView(waiting).subspan(used));
  if (!closed_ && !paused()) read_on();
}

void Connection::consumed(std::size_t weight) {
  unconsumed_ -= std::min(weight, unconsumed_);
  if (!lagging_ || closed_ || unconsumed_ > budget_->unconsumed_bytes / 2) return;
  lagging_ = false;
  if (!no_room_) resume();
}

void Connection::on_room() {
  if (!no_room_ || closed_) return;
  no_room_ = false;
  if (!lagging_) resume();
}

// Reads of small frames go to the lane's one buffer, behind what this connection had left: so a
// connection holds what it was sent of an unfinished frame, and no byte more.
uv_buf_t Connection::place_of_read() {
  if (placed_)
    return uv_buf_init(reinterpret_cast<char*>(placed_->start + placed_->have),
                       static_cast<unsigned>(placed_->whole - placed_->have + kLookAheadBytes));
  const MutableBytes all = lane_.read_buffer();
  std::copy(unread_.begin(), unread_.end(), all.begin());
  return uv_buf_init(reinterpret_cast<char*>(all.data() + unread_.size()),
                     static_cast<unsigned>(kReadBytes));
}

void Connection::on_read(ssize_t count) {
  if (count == 0) return;  // nothing there after all
  if (count == UV_EOF)
    return close(Error{ErrorCode::kUnreachable,
                       absl::StrCat(remote_.to_string(), " closed the connection")});
  if (count < 0)
    return close(socket_error("lost the connection to", remote_, static_cast<int>(count)));
  if (placed_) return on_placed_read(static_cast<std::size_t>(count));
  const MutableBytes data =
      lane_.read_buffer().first(unread_.size() + static_cast<std::size_t>(count));
  const std::size_t used = process(data);
  if (!closed_) keep(data.subspan(used));
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
  if (!on_data_frame(*body)) return;
  const std::size_t used = process(data);
  if (!closed_) keep(data.subspan(used));
}

void Connection::keep(ByteView rest) {
  unread_ = {};  // an idle connection holds no memory
  if (rest.empty()) return;
  if (!place(rest)) unread_.assign(rest.begin(), rest.end());
  if (!session_ || paused() || frame_watched_) return;
  frame_watched_ = true;
  lane_.watch_frame(weak_from_this(), frames_);
}

bool Connection::place(ByteView begun) {
  if (!session_ || finishing_ || paused() || begun.size() < kFrameHeaderBytes) return false;
  const auto header = parse_frame_header(begun);
  if (!header || header->kind != FrameKind::kData || header->body_bytes <= kDataHeaderBytes ||
      !takes_data() || !room_for_data())
    return false;
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

bool Connection::room_for_data() {
  if (!takes_data()) return true;  // it is refused when it is here
  if (inbox_.make_room(*lane_.buffers(), io_->layout, [&lane = lane_, weak = weak_from_this()] {
        lane.loop().post([weak] {
          if (const auto connection = weak.lock()) connection->on_room();
        });
      }))
    return true;
  no_room_ = true;
  pause();
  return false;
}

void Connection::check_frame(std::uint64_t frames) {
  frame_watched_ = false;
  if (closed_ || (unread_.empty() && !placed_)) return;
  if (frames_ == frames && !paused())
    return close(Error{ErrorCode::kUnreachable,
                       absl::StrCat(remote_.to_string(), " stopped in the middle of a message")});
  frame_watched_ = true;
  lane_.watch_frame(weak_from_this(), frames_);
}

std::size_t Connection::process(MutableBytes data) {
  std::size_t used = 0;
  if (handshake_ && !finishing_) used = shake_hands(data);
  while (session_ && !closed_ && !finishing_ && !paused()) {
    const MutableBytes rest = data.subspan(used);
    if (rest.size() < kFrameHeaderBytes) break;
    const auto header = parse_frame_header(rest);
    if (!header) {
      break_off(header.error());
      break;
    }
    if (header->kind == FrameKind::kMessage && header->body_bytes > budget_->message_bytes) {
      break_off(Error{ErrorCode::kLimit, "a message that is too long"});
      break;
    }
    const std::size_t whole = header->body_bytes + kFrameOverheadBytes;
    if (rest.size() < whole) break;
    if (header->kind == FrameKind::kData && !room_for_data()) break;
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
}

bool Connection::on_data_frame(ByteView body) {
  if (!io_ || !io_->writer)
    return break_off(Error{ErrorCode::kMalformed, "sends chunks that nobody asked for"});
  auto received = inbox_.on_data(body, io_->layout, *lane_.buffers());
  if (placed_) {
    std::memcpy(placed_->start, placed_->under_head.data(), placed_->under_head.size());
    placed_.reset();
  }
  if (!received) return break_off(received.error());
  const ChunkIndex chunk = received->chunk;
  // Told once for as many frames as came together: a frame may be a single byte.
  if (progress_ && progress_->chunk != chunk) tell_progress();
  if (!progress_) progress_ = ChunkData{chunk, 0};
  progress_->bytes += received->bytes;
  if (received->whole) store(chunk, std::move(received->whole));
  return true;
}

void Connection::store(ChunkIndex chunk, BufferRef whole) {
  tell_progress();
  stored_ = true;
  // Weighs nothing: there are no more of these than chunks that were asked for.
  lane_.writer().post([&lane = lane_, id = id_, io = io_, chunk, whole = std::move(whole)] {
    const ByteView bytes(whole->payload(), io->layout.length_of(chunk));
    if (chunk_digest(bytes) != io->manifest->chunk_hashes[chunk])
      lane.emit(Event{id, ChunkCorrupt{chunk}});
    else if (Status written = io->writer->write_chunk(chunk, bytes); !written)
      lane.emit(Event{id, ChunkUnstored{chunk, std::move(written).error()}});
    else
      lane.emit(Event{id, ChunkVerified{chunk}});
  });
}

}  // namespace p2p::net
