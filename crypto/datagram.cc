#include "crypto/datagram.h"

#include <sodium.h>

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "crypto/digest.h"

namespace p2p {
namespace {

constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kGreetingFlag = 0x80;

constexpr std::size_t kHintAt = 1;
constexpr std::size_t kSenderAt = kHintAt + KeyHint{}.size();
constexpr std::size_t kEpochAt = kSenderAt + PeerId::kSize;
constexpr std::size_t kCounterAt = kEpochAt + 8;
static_assert(kCounterAt + 8 == kDatagramHeaderBytes);
static_assert(kDatagramTagBytes == crypto_aead_chacha20poly1305_ietf_ABYTES);

using Nonce = std::array<std::uint8_t, crypto_aead_chacha20poly1305_ietf_NPUBBYTES>;

Nonce nonce_of(std::uint64_t counter) {
  Nonce nonce{};
  put_u64(nonce.data() + 4, counter);
  return nonce;
}

// The whole header and, of a bound datagram, the receiver's session tag.
struct Additional {
  Additional(ByteView header, ByteView bound_to) : size(header.size() + bound_to.size()) {
    std::copy(bound_to.begin(), bound_to.end(),
              std::copy(header.begin(), header.end(), bytes.begin()));
  }
  std::array<std::uint8_t, kDatagramHeaderBytes + SessionTag{}.size()> bytes;
  std::size_t size;
};

Secret datagram_key(const Secret& root, const PeerId& sender, std::uint64_t epoch) {
  std::array<std::uint8_t, PeerId::kSize + 8> session;
  std::copy(sender.bytes.begin(), sender.bytes.end(), session.begin());
  put_u64(session.data() + PeerId::kSize, epoch);
  Hasher hasher = Hasher::keyed(root);
  hasher.update(session);
  Digest digest = hasher.finish();
  const Secret key = *Secret::from_bytes(digest.view());
  sodium_memzero(digest.bytes.data(), digest.bytes.size());
  return key;
}

}  // namespace

SessionTag session_tag_of(const PeerId& id, std::uint64_t epoch) {
  std::array<std::uint8_t, 8> number;
  put_u64(number.data(), epoch);
  Hasher hasher = Hasher::derive("p2p 1 session tag");
  hasher.update(id.view());
  hasher.update(number);
  const Digest digest = hasher.finish();
  SessionTag tag;
  std::copy_n(digest.bytes.begin(), tag.size(), tag.begin());
  return tag;
}

Result<std::uint64_t> fresh_epoch(std::uint64_t clock_ms, std::uint64_t last) {
  if (last == std::numeric_limits<std::uint64_t>::max())
    return Error{ErrorCode::kMalformed,
                 "the epoch of the last start is the greatest there is: what was kept of it is "
                 "damaged; start with a new key pair"};
  return std::max(clock_ms, last + 1);
}

// ---- sealing ----

DatagramSealer::DatagramSealer(const PeerId& self, std::uint64_t epoch, const Keyring& keyring)
    : self_(self), epoch_(epoch) {
  set_keyring(keyring);
}

void DatagramSealer::set_keyring(const Keyring& keyring) {
  hint_ = keyring.hint(0);
  key_ = datagram_key(keyring.datagram_root(0), self_, epoch_);
}

Bytes DatagramSealer::seal(ByteView packet, const SessionTag& receiver) {
  return seal_with(kVersion, packet, receiver);
}

Bytes DatagramSealer::seal_greeting(ByteView packet) {
  return seal_with(kVersion | kGreetingFlag, packet, {});
}

Bytes DatagramSealer::seal_with(std::uint8_t first_byte, ByteView packet, ByteView bound_to) {
  P2P_CHECK(packet.size() <= kMaxPacketBytes);
  // A nonce used twice would give the key stream away.
  P2P_CHECK(counter_ != std::numeric_limits<std::uint64_t>::max());
  const std::uint64_t counter = counter_++;
  Bytes datagram(kDatagramOverhead + packet.size());
  datagram[0] = first_byte;
  std::copy(hint_.begin(), hint_.end(), datagram.begin() + kHintAt);
  std::copy(self_.bytes.begin(), self_.bytes.end(), datagram.begin() + kSenderAt);
  put_u64(datagram.data() + kEpochAt, epoch_);
  put_u64(datagram.data() + kCounterAt, counter);
  const Additional additional(ByteView(datagram).first(kDatagramHeaderBytes), bound_to);
  P2P_CHECK(crypto_aead_chacha20poly1305_ietf_encrypt(
                datagram.data() + kDatagramHeaderBytes, nullptr, packet.data(), packet.size(),
                additional.bytes.data(), additional.size, nullptr, nonce_of(counter).data(),
                key_.view().data()) == 0);
  return datagram;
}

// ---- opening ----

struct DatagramOpener::Header {
  KeyHint hint;
  PeerId sender;
  std::uint64_t epoch;
  std::uint64_t counter;
  bool greeting;
};

DatagramOpener::DatagramOpener(const PeerId& self, std::uint64_t epoch, const Keyring& keyring)
    : self_(self), epoch_(epoch), tag_(session_tag_of(self, epoch)) {
  set_keyring(keyring);
}

void DatagramOpener::set_keyring(const Keyring& keyring) {
  P2P_CHECK(!keyring.empty());
  keyring_ = keyring;
}

DatagramOpener::Header DatagramOpener::parse_header(ByteView datagram) {
  Header header;
  header.greeting = (datagram[0] & kGreetingFlag) != 0;
  std::copy_n(datagram.begin() + kHintAt, header.hint.size(), header.hint.begin());
  std::copy_n(datagram.begin() + kSenderAt, PeerId::kSize, header.sender.bytes.begin());
  header.epoch = get_u64(datagram.data() + kEpochAt);
  header.counter = get_u64(datagram.data() + kCounterAt);
  return header;
}

// What costs least comes first. Whoever is refused before decrypt() may have been forged: nothing
// may change by it.
std::variant<OpenedDatagram, DatagramRefusal> DatagramOpener::open(MutableBytes datagram) {
  if (datagram.size() < kDatagramOverhead || datagram.size() > kMaxDatagramBytes)
    return DatagramRefusal::kLength;
  if ((datagram[0] & ~kGreetingFlag) != kVersion) return DatagramRefusal::kVersion;
  const Header header = parse_header(datagram);
  const std::optional<std::size_t> key_index = keyring_.find(header.hint);
  if (!key_index) return DatagramRefusal::kUnknownKey;
  if (header.sender == self_ && header.epoch == epoch_) return DatagramRefusal::kOwn;
  if (const auto known = by_sender_.find(header.sender); known != by_sender_.end()) {
    const Window& window = *known->second;
    if (header.epoch < window.epoch) return DatagramRefusal::kOldEpoch;
    if (header.epoch == window.epoch && !window.is_new(header.counter))
      return DatagramRefusal::kReplayed;
  }
  if (!decrypt(header, *key_index, datagram)) return DatagramRefusal::kForged;
  note(header);
  return OpenedDatagram{
      header.sender, header.epoch, header.greeting, *key_index,
      datagram.subspan(kDatagramHeaderBytes, datagram.size() - kDatagramOverhead)};
}

bool DatagramOpener::decrypt(const Header& header, std::size_t key_index,
                             MutableBytes datagram) const {
  const Secret key = datagram_key(keyring_.datagram_root(key_index), header.sender, header.epoch);
  const Additional additional(datagram.first(kDatagramHeaderBytes),
                              header.greeting ? ByteView() : ByteView(tag_));
  std::uint8_t* const body = datagram.data() + kDatagramHeaderBytes;
  return crypto_aead_chacha20poly1305_ietf_decrypt(
             body, nullptr, nullptr, body, datagram.size() - kDatagramHeaderBytes,
             additional.bytes.data(), additional.size, nonce_of(header.counter).data(),
             key.view().data()) == 0;
}

// A greeting makes no sender known, nor keeps it so: see the header.
void DatagramOpener::note(const Header& header) {
  auto known = by_sender_.find(header.sender);
  if (known == by_sender_.end()) {
    if (header.greeting) return;
    if (windows_.size() == kMaxSenders) {
      by_sender_.erase(windows_.back().sender);
      windows_.pop_back();
    }
    windows_.push_front({.sender = header.sender});
    windows_.front().begin(header.epoch, header.counter);
    by_sender_.emplace(header.sender, windows_.begin());
    return;
  }
  Window& window = *known->second;
  if (header.epoch > window.epoch)
    window.begin(header.epoch, header.counter);
  else
    window.note(header.counter);
  if (!header.greeting) windows_.splice(windows_.begin(), windows_, known->second);
}

void DatagramOpener::Window::begin(std::uint64_t new_epoch, std::uint64_t counter) {
  epoch = new_epoch;
  latest = counter;
  seen.reset();
  seen.set(counter % kReplayWindow);
}

bool DatagramOpener::Window::is_new(std::uint64_t counter) const {
  if (counter > latest) return true;
  return latest - counter < kReplayWindow && !seen.test(counter % kReplayWindow);
}

void DatagramOpener::Window::note(std::uint64_t counter) {
  if (counter > latest) {
    // The places of the counters between are those of counters that fall out of the window.
    if (counter - latest >= kReplayWindow)
      seen.reset();
    else
      for (std::uint64_t c = latest + 1; c < counter; ++c) seen.reset(c % kReplayWindow);
    latest = counter;
  }
  seen.set(counter % kReplayWindow);
}

}  // namespace p2p
