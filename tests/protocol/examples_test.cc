// The examples of docs/protocol.md, computed again. A failure means that the page is wrong, or that
// the protocol was changed by accident: peers of other versions are out there.
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "content/link.h"
#include "content/manifest.h"
#include "content/outline.h"
#include "crypto/channel.h"
#include "crypto/datagram.h"
#include "crypto/digest.h"
#include "crypto/keyring.h"
#include "crypto/keys.h"
#include "crypto/psk_list.h"
#include "crypto/rendezvous.h"
#include "gossip/member_table.h"
#include "gossip/messages.h"
#include "peer/messages.h"
#include "tracker/messages.h"
#include "tracker/store_record.h"

namespace p2p {
namespace {

std::string page() {
  std::ifstream file(P2P_SOURCE_DIR "/docs/protocol.md");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string hex(ByteView bytes) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

// The page has it as a whole word.
void require_on_page(const std::string& text) {
  static const std::string words = page();
  INFO(text);
  const std::size_t at = words.find(" " + text + "\n");
  REQUIRE(at != std::string::npos);
}

template <typename T>
T filled(std::uint8_t byte) {
  return *T::from_bytes(Bytes(32, byte));
}

Manifest example_manifest() {
  Manifest manifest;
  manifest.root = Manifest::Root::kFolder;
  manifest.name = "photos";
  manifest.chunk_bytes = 65536;
  manifest.entries = {{Entry::Kind::kFile, "a.txt", 3, ""},
                      {Entry::Kind::kExecutable, "bin/run", 2, ""},
                      {Entry::Kind::kEmptyFolder, "empty", 0, ""},
                      {Entry::Kind::kSymlink, "latest", 0, "a.txt"}};
  manifest.chunk_hashes = {chunk_digest(bytes_of("p2p!\n"))};
  return manifest;
}

std::string announce_body(const tracker::Message& message) {
  return "01" + hex(tracker::encode(message));
}

std::string swarm_body(const peer::Message& message) { return "02" + hex(peer::encode(message)); }

TEST_CASE("the page's manifest, ids and link are ours") {
  init_crypto();
  const Manifest manifest = example_manifest();
  const Bytes encoded = encode_manifest(manifest);
  const ContentId content = content_id_of(encoded);
  const Secret psk = filled<Secret>(0x11);
  require_on_page(manifest.chunk_hashes.front().hex());
  require_on_page(hex(encoded));
  require_on_page(content.hex());
  require_on_page(swarm_id_of(content, psk).hex());
  const Link link{
      content, {{"tracker.example", 7000}}, {{"192.0.2.1", 40000}, {"2001:db8::1", 40000}}, psk};
  require_on_page(link.to_string());
}

TEST_CASE("the page's keys are ours") {
  init_crypto();
  require_on_page(hex(open_tracker_key().view()));
  require_on_page(hex(PskList{filled<Secret>(0x11)}.hint(0, filled<PeerId>(0x33))));
}

TEST_CASE("the page's scores of owners are ours") {
  const SwarmId swarm =
      swarm_id_of(content_id_of(encode_manifest(example_manifest())), filled<Secret>(0x11));
  for (const HostPort& tracker :
       {HostPort{"tracker.example", 7000}, HostPort{"2001:db8::1", 7000}}) {
    const std::uint64_t score = Rendezvous(swarm).score(bytes_of(owner_name(tracker)));
    require_on_page(absl::StrCat(absl::Hex(score, absl::kZeroPad16)));
  }
}

TEST_CASE("the page's frames are ours") {
  init_crypto();
  for (const Cipher cipher : available_ciphers()) {
    Sealer sealer(cipher, filled<Secret>(0x44));
    for (const FrameKind kind : {FrameKind::kMessage, FrameKind::kData}) {
      Bytes frame(kFrameOverheadBytes + 3);
      std::copy_n("p2p", 3, frame.begin() + kFrameHeaderBytes);
      sealer.seal(kind, frame);
      require_on_page(hex(frame));
    }
  }
}

TEST_CASE("the page's datagrams are ours") {
  init_crypto();
  const Keyring ring = *Keyring::of({filled<Secret>(0x11)});
  require_on_page(hint_text(ring.hint(0)));
  const SessionTag receiver = session_tag_of(filled<PeerId>(0x77), 1'700'000'000'001);
  require_on_page(hex(receiver));
  DatagramSealer sealer(filled<PeerId>(0x66), 1'700'000'000'000, ring);
  require_on_page(hex(sealer.seal_greeting(bytes_of("p2p"))));
  require_on_page(hex(sealer.seal(bytes_of("p2p"), receiver)));
}

TEST_CASE("the page's gossip is ours") {
  using namespace gossip;
  const Endpoint endpoint = *Endpoint::parse("192.0.2.1:7946");
  const ClaimPtr claim =
      std::make_shared<Claim>(Claim{filled<PeerId>(0x66), 1'700'000'000'000, 1, endpoint, 40001});
  MemberTable table;
  table.put({claim, MemberStatus::kAlive, 0}, Time{});
  const ViewSummary view = table.summary();
  require_on_page(absl::StrCat(absl::Hex(view.digest, absl::kZeroPad16)));
  require_on_page(hex(encode_packet(Ping{0x80000001,
                                         false,
                                         {1, endpoint, 40001},
                                         {0, MemberStatus::kAlive},
                                         *Endpoint::parse("192.0.2.2:7946"),
                                         view})));
  require_on_page(
      hex(encode_packet(Gossip{{{claim, MemberStatus::kSuspect, tag_of(filled<PeerId>(0x77))}}})));
  const std::uint32_t salt = 0x8f3a2b10;
  const BucketMarks marks{0x66, 0, 1, {MemberTable::mark_of(*claim, salt)}};
  require_on_page(hex(encode_packet(Listing{salt, {marks}})));
  require_on_page(hex(encode_packet(Want{salt, {marks}})));
}

TEST_CASE("the page's store records are ours") {
  tracker::StoreRecord record;
  record.writer = 1;
  record.swarm = filled<SwarmId>(0x55);
  record.peer = {filled<PeerId>(0x66), *Endpoint::parse("192.0.2.1:40001"), true, "rack-7"};
  record.expires_ms = 1'764'000'000'000;
  require_on_page(hex(encode(tracker::StoreMessage(record))));
  require_on_page(
      hex(encode(tracker::StoreMessage(tracker::StoreRemoval{1, record.swarm, record.peer.peer}))));
}

TEST_CASE("the page's messages are ours") {
  const SwarmId swarm = filled<SwarmId>(0x55);
  tracker::Announce announce;
  announce.swarm = swarm;
  announce.event = tracker::Event::kStarted;
  announce.port = 40001;
  announce.want = 10;
  announce.advertised = {*Endpoint::parse("192.0.2.1:40001")};
  announce.zone = "rack-7";
  require_on_page(announce_body(announce));
  tracker::Handout handout;
  handout.swarm = swarm;
  handout.interval = std::chrono::seconds(30);
  handout.peers = {{*Endpoint::parse("[2001:db8::1]:40000"), true, false}};
  require_on_page(announce_body(handout));
  const SwarmId watched = handout.swarm;
  require_on_page(announce_body(tracker::Watch{watched, std::chrono::seconds(10)}));
  require_on_page(
      announce_body(tracker::Report{watched, "a.iso", 300'000, 3, 2, 1000, 2000, {255, 0, 128}}));

  Bitfield have(10);
  have.set(0);
  have.set(9);
  require_on_page(swarm_body(peer::Join{peer::kProtocolVersion, swarm, 40001, "rack-7"}));
  require_on_page(swarm_body(peer::Chunks{have}));
  require_on_page(swarm_body(peer::Request{peer::kAnyChunk}));
  require_on_page(swarm_body(peer::Reject{310, peer::RejectReason::kCancelled}));
  const Outline outline({{5, segment_hash(bytes_of("p2p!\n"))}});
  require_on_page(swarm_body(peer::OutlinePart{11, 0, encode_outline(outline)}));
  require_on_page(swarm_body(peer::DetailRequest{300, 64}));
  require_on_page(swarm_body(peer::Partial{{{310, {{100, 42}, {4238, 128}}}, {7, {}}}}));
}

}  // namespace
}  // namespace p2p
