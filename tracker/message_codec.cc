#include <algorithm>

#include "base/canonical_msgpack.h"
#include "tracker/field_codec.h"
#include "tracker/messages.h"

namespace p2p::tracker {
namespace {

enum : std::uint64_t {
  kAnnounce = 1,
  kLookup = 2,
  kHandout = 3,
  kRefusal = 4,
  kWatch = 5,
  kReport = 6
};

constexpr std::uint32_t kAnnounceElements = 10;
constexpr std::uint32_t kLookupElements = 3;
constexpr std::uint32_t kHandoutElements = 4;
constexpr std::uint32_t kRefusalElements = 3;
constexpr std::uint32_t kWatchElements = 3;
constexpr std::uint32_t kReportElements = 9;
constexpr std::uint32_t kPeerElements = 3;
constexpr std::uint32_t kPeerElementsWithShare = 2;

// A Handout of kMaxPeersInMessage IPv4 peers.
constexpr std::size_t kUsualMessageBytes = 600;

void write_head(CanonicalWriter& writer, std::uint32_t elements, std::uint64_t number,
                const SwarmId& swarm) {
  writer.array(elements);
  writer.uint(number);
  writer.bin(swarm.view());
}

void write(CanonicalWriter& writer, const Announce& announce) {
  write_head(writer, kAnnounceElements, kAnnounce, announce.swarm);
  writer.uint(static_cast<std::uint8_t>(announce.event));
  writer.uint(announce.port);
  writer.boolean(announce.complete);
  writer.uint(announce.have_permille);
  writer.uint(announce.want);
  writer.array(static_cast<std::uint32_t>(announce.advertised.size()));
  for (const Endpoint& endpoint : announce.advertised) write_endpoint(writer, endpoint);
  writer.str(announce.zone);
  writer.boolean(announce.starving);
}

void write(CanonicalWriter& writer, const Lookup& lookup) {
  write_head(writer, kLookupElements, kLookup, lookup.swarm);
  writer.uint(lookup.want);
}

void write(CanonicalWriter& writer, const Handout& handout) {
  write_head(writer, kHandoutElements, kHandout, handout.swarm);
  writer.uint(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(handout.interval).count()));
  writer.array(static_cast<std::uint32_t>(handout.peers.size()));
  for (const PeerRecord& peer : handout.peers) {
    writer.array(peer.have_percent ? kPeerElementsWithShare : kPeerElements);
    write_endpoint(writer, peer.endpoint);
    if (peer.have_percent) {
      writer.uint(*peer.have_percent);
      continue;
    }
    writer.boolean(peer.complete);
    writer.boolean(peer.far);
  }
}

void write(CanonicalWriter& writer, const Refusal& refusal) {
  write_head(writer, kRefusalElements, kRefusal, refusal.swarm);
  writer.str(refusal.text);
}

void write(CanonicalWriter& writer, const Watch& watch) {
  write_head(writer, kWatchElements, kWatch, watch.swarm);
  writer.uint(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(watch.lease).count()));
}

void write(CanonicalWriter& writer, const Report& report) {
  write_head(writer, kReportElements, kReport, report.swarm);
  writer.str(report.name);
  writer.uint(report.bytes);
  writer.uint(report.chunks);
  writer.uint(report.have_chunks);
  writer.uint(report.down_rate);
  writer.uint(report.up_rate);
  writer.bin(report.columns);
}

std::uint8_t read_want(CanonicalReader& reader) {
  return static_cast<std::uint8_t>(reader.uint(kMaxPeersInMessage, "want"));
}

Announce read_announce(CanonicalReader& reader) {
  Announce announce;
  announce.swarm = read_swarm(reader);
  announce.event =
      static_cast<Event>(reader.uint(static_cast<std::uint64_t>(Event::kStopped), "event"));
  announce.port = static_cast<std::uint16_t>(reader.uint(UINT16_MAX, "port"));
  announce.complete = reader.boolean("complete");
  announce.have_permille = static_cast<std::uint16_t>(reader.uint(kFullPermille, "have_permille"));
  announce.want = read_want(reader);
  const std::uint32_t advertised = reader.array(kMaxAdvertised, "advertised");
  for (std::uint32_t i = 0; i < advertised && !reader.failed(); ++i)
    announce.advertised.push_back(read_dialable(reader, "advertised"));
  announce.zone = std::string(read_zone(reader));
  announce.starving = reader.boolean("starving");
  return announce;
}

Lookup read_lookup(CanonicalReader& reader) {
  Lookup lookup;
  lookup.swarm = read_swarm(reader);
  lookup.want = read_want(reader);
  return lookup;
}

Handout read_handout(CanonicalReader& reader) {
  constexpr auto kMaxMs =
      std::chrono::duration_cast<std::chrono::milliseconds>(kMaxInterval).count();
  Handout handout;
  handout.swarm = read_swarm(reader);
  handout.interval = std::chrono::milliseconds(reader.uint(kMaxMs, "interval_ms"));
  const std::uint32_t peers = reader.array(kMaxPeersInMessage, "peers");
  handout.peers.reserve(peers);
  for (std::uint32_t i = 0; i < peers && !reader.failed(); ++i) {
    const std::uint32_t elements = reader.array(kPeerElements, "peer");
    PeerRecord& peer = handout.peers.emplace_back();
    peer.endpoint = read_dialable(reader, "peer");
    if (elements == kPeerElementsWithShare) {
      peer.have_percent = static_cast<std::uint8_t>(reader.uint(kFullPercent, "have_percent"));
      peer.complete = peer.have_percent == kFullPercent;
      continue;
    }
    if (elements != kPeerElements) reader.fail("peer", "too few elements");
    peer.complete = reader.boolean("complete");
    peer.far = reader.boolean("far");
  }
  return handout;
}

Refusal read_refusal(CanonicalReader& reader) {
  Refusal refusal;
  refusal.swarm = read_swarm(reader);
  const std::string_view text = reader.str(kMaxRefusalTextBytes, "text");
  if (!std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; }))
    reader.fail("text", "not printable ASCII");
  refusal.text = std::string(text);
  return refusal;
}

Watch read_watch(CanonicalReader& reader) {
  constexpr auto kMaxMs =
      std::chrono::duration_cast<std::chrono::milliseconds>(kMaxWatchLease).count();
  Watch watch;
  watch.swarm = read_swarm(reader);
  watch.lease = std::chrono::milliseconds(reader.uint(kMaxMs, "lease_ms"));
  return watch;
}

Report read_report(CanonicalReader& reader) {
  Report report;
  report.swarm = read_swarm(reader);
  report.name = std::string(reader.str(kMaxReportNameBytes, "name"));
  report.bytes = reader.uint(kMaxReportedBytes, "bytes");
  report.chunks = static_cast<std::uint32_t>(reader.uint(kMaxChunks, "chunks"));
  report.have_chunks = static_cast<std::uint32_t>(reader.uint(report.chunks, "have_chunks"));
  report.down_rate = reader.uint(kMaxReportedRate, "down_rate");
  report.up_rate = reader.uint(kMaxReportedRate, "up_rate");
  const ByteView columns = reader.bin(kReportColumns, "columns");
  if (columns.size() != column_count(report.chunks))
    reader.fail("columns", "not as many as the chunks have");
  report.columns.assign(columns.begin(), columns.end());
  return report;
}

Message read_message(CanonicalReader& reader) {
  const std::uint32_t elements = reader.array(kAnnounceElements, "message");
  const std::uint64_t number = reader.uint(kReport, "message number");
  const auto expect = [&](std::uint32_t count) {
    if (elements != count) reader.fail("message", "too many or too few elements");
  };
  switch (number) {
    case kAnnounce:
      expect(kAnnounceElements);
      return read_announce(reader);
    case kLookup:
      expect(kLookupElements);
      return read_lookup(reader);
    case kHandout:
      expect(kHandoutElements);
      return read_handout(reader);
    case kRefusal:
      expect(kRefusalElements);
      return read_refusal(reader);
    case kWatch:
      expect(kWatchElements);
      return read_watch(reader);
    case kReport:
      expect(kReportElements);
      return read_report(reader);
    default:
      reader.fail("message number", "unknown");
      return {};
  }
}

}  // namespace

Bytes encode(const Message& message, Bytes head) {
  CanonicalWriter writer(head, kUsualMessageBytes);
  std::visit([&writer](const auto& value) { write(writer, value); }, message);
  writer.finish();
  return head;
}

Result<Message> decode(ByteView bytes) {
  if (bytes.size() > kMaxTrackerMessageBytes)
    return Error{ErrorCode::kLimit, "tracker message: too long"};
  CanonicalReader reader(bytes);
  Message message = read_message(reader);
  P2P_TRY(reader.finish("tracker message"));
  return message;
}

}  // namespace p2p::tracker
