// Sealed datagrams: what members of a cluster tell each other over UDP. Sans-IO.
//
// Wire (docs/protocol.md is the reference):
//
//   u8 version and flags | 4-byte key hint | 32-byte sender | u64 epoch | u64 counter |
//   ciphertext | 16-byte tag
//
// Everything before the ciphertext is in clear and authenticated. The key is keyed(derive("p2p 1
// datagram", cluster key), sender || epoch), the cipher ChaCha20-Poly1305, the nonce the counter.
//
// A datagram is either bound or a greeting. A bound one is sealed to the session of one receiver:
// the receiver's session tag is authenticated with it, and not sent. A greeting is for whoever is
// at an address: its sender does not know yet who that is.
//
// What a receiver knows of a datagram that opens: somebody who has a cluster key sealed it, as
// `sender` in its session `epoch`. All who have the key are trusted alike: any of them could claim
// to be any sender.
//
// Why a bound datagram is not taken twice:
// - One that was meant for another receiver, or for this one before it started anew, is bound to
//   another session tag and does not open.
// - In a session, each sender has a window of kReplayWindow counters, kept from its first bound
//   datagram on. What stands in the window, or is older than it, is refused.
// - A sender that starts anew has a greater epoch. What was sealed in an epoch before the greatest
//   that was seen of a sender is refused.
// - The table of windows has a limit. Of more senders than kMaxSenders, the one that was silent for
//   the longest time is forgotten, and what it sent in this session could be taken once more. Only
//   bound datagrams that open make a sender known, so nobody without a cluster key can bring this
//   about; he can wait for it in a cluster that has, or had in this session, more members than
//   that. So whoever uses this must tell old news from new by itself: gossip does by incarnation
//   numbers, and by the sequence numbers of probes that wait.
// A greeting that comes again is refused only where its sender is known. It makes no sender known
// (a store of recorded greetings would push out those who are), so a recorded one may be replayed
// at will. So nothing may be learned from a greeting but that somebody asks; and the answers must
// be limited in size or rate, or UDP's forgeable addresses would make them a weapon. What is held
// up on the way and comes late, before anything newer, is taken.
//
// Memory: none is taken for a datagram until it is authenticated, and no key is kept: deriving one
// is a single compression of BLAKE3.
#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <list>
#include <variant>

#include "absl/container/flat_hash_map.h"
#include "base/bytes.h"
#include "base/id.h"
#include "base/result.h"
#include "crypto/keyring.h"

namespace p2p {

// Ethernet's 1,500 bytes, less the headers of IPv6, UDP and a tunnel: no network splits it.
inline constexpr std::size_t kMaxDatagramBytes = 1400;
inline constexpr std::size_t kDatagramHeaderBytes = 1 + KeyHint{}.size() + PeerId::kSize + 8 + 8;
inline constexpr std::size_t kDatagramTagBytes = 16;
inline constexpr std::size_t kDatagramOverhead = kDatagramHeaderBytes + kDatagramTagBytes;
inline constexpr std::size_t kMaxPacketBytes = kMaxDatagramBytes - kDatagramOverhead;

// Counters: how far behind the latest of its sender a datagram may arrive.
inline constexpr std::size_t kReplayWindow = 1024;
// Windows kept; about 250 bytes each.
inline constexpr std::size_t kMaxSenders = 65'536;

// Names one session of one receiver: the first 8 bytes of derive("p2p 1 session tag", id || u64
// epoch).
using SessionTag = std::array<std::uint8_t, 8>;
SessionTag session_tag_of(const PeerId& id, std::uint64_t epoch);

// The epoch of a process that starts now: max(clock, last + 1). `clock_ms` is the wall clock in
// milliseconds since 1970, so that an id whose state was lost still rises; `last` is the epoch that
// this id had at its last start, 0 if it never had one. The caller must have the result on disk,
// beside the id's private key, before anything is sealed: an epoch used twice repeats nonces.
// kMalformed if there is no greater epoch than `last`: what was kept is damaged.
Result<std::uint64_t> fresh_epoch(std::uint64_t clock_ms, std::uint64_t last);

class DatagramSealer {
 public:
  // The ring must not be empty.
  DatagramSealer(const PeerId& self, std::uint64_t epoch, const Keyring& keyring);
  // Two copies would reuse nonces.
  DatagramSealer(const DatagramSealer&) = delete;
  DatagramSealer& operator=(const DatagramSealer&) = delete;

  // From now on seals with this ring's first key. Counters go on: they are the epoch's.
  void set_keyring(const Keyring& keyring);

  // At most kMaxPacketBytes. The result is kDatagramOverhead longer.
  Bytes seal(ByteView packet, const SessionTag& receiver);
  Bytes seal_greeting(ByteView packet);

 private:
  Bytes seal_with(std::uint8_t first_byte, ByteView packet, ByteView bound_to);

  PeerId self_;
  std::uint64_t epoch_;
  std::uint64_t counter_ = 0;
  KeyHint hint_{};
  Secret key_;
};

struct OpenedDatagram {
  PeerId sender;
  std::uint64_t epoch = 0;
  bool greeting = false;
  std::size_t key_index = 0;  // in the opener's ring: with which key it was sealed
  ByteView packet;            // part of what was given to open()
};

enum class DatagramRefusal : std::uint8_t {
  kLength,      // shorter or longer than any datagram
  kVersion,     // another version, or flags that this one lacks
  kUnknownKey,  // sealed with a key that is not in the ring, or no datagram at all
  kOwn,         // our own, sent back to us; not one of another process with our key
  kOldEpoch,    // of a session of its sender before the latest that was seen
  kReplayed,    // was here before, or is too old to tell
  kForged,      // does not open: changed, or meant for another session
};
inline constexpr std::size_t kDatagramRefusals = 7;

class DatagramOpener {
 public:
  // `self` and `epoch` are the receiver's own. The ring must not be empty.
  DatagramOpener(const PeerId& self, std::uint64_t epoch, const Keyring& keyring);
  DatagramOpener(const DatagramOpener&) = delete;
  DatagramOpener& operator=(const DatagramOpener&) = delete;

  // From now on opens with the keys of this ring. What was seen stays seen.
  void set_keyring(const Keyring& keyring);

  // Decrypts in place. The packet is a part of `datagram`; of one that is refused the content is
  // lost.
  std::variant<OpenedDatagram, DatagramRefusal> open(MutableBytes datagram);

  // Senders with a window.
  std::size_t known_senders() const { return windows_.size(); }

 private:
  // The counters of one sender's latest epoch that are not new.
  struct Window {
    PeerId sender;
    std::uint64_t epoch = 0;
    std::uint64_t latest = 0;
    // Of the counters from latest - kReplayWindow + 1 on; counter c at c % kReplayWindow.
    std::bitset<kReplayWindow> seen;

    void begin(std::uint64_t new_epoch, std::uint64_t counter);
    bool is_new(std::uint64_t counter) const;
    void note(std::uint64_t counter);
  };
  struct Header;

  static Header parse_header(ByteView datagram);
  bool decrypt(const Header& header, std::size_t key_index, MutableBytes datagram) const;
  void note(const Header& header);

  PeerId self_;
  std::uint64_t epoch_;
  SessionTag tag_;
  Keyring keyring_;
  std::list<Window> windows_;  // who spoke last comes first
  absl::flat_hash_map<PeerId, std::list<Window>::iterator> by_sender_;
};

}  // namespace p2p
