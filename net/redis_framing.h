// RedisFraming: where replies of a redis server end, and how large they are, before a parser has
// them: it holds a reply whole in memory, and a value may have 512 MB. Sans-IO; RESP 2.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace p2p::net {

// A reply is held whole in memory. Ours are small: a page of kStorePageEntries records has 0.2 MB.
inline constexpr std::size_t kMaxRedisReplyBytes = 16 * 1024 * 1024;
// Its values, itself among them; each takes the parser some 100 bytes whatever its length.
inline constexpr std::size_t kMaxRedisReplyValues = 65'536;
// The first line of a value, with its length.
inline constexpr std::size_t kMaxRedisLineBytes = 64 * 1024;

class RedisFraming {
 public:
  enum class State {
    kMore,      // all was taken, and the reply goes on
    kComplete,  // the reply ends with what was taken
    kMalformed,
  };

  // Looks at the next bytes, up to the end of a reply. `taken`: how many.
  State take(std::string_view bytes, std::size_t& taken);

  // The present reply, or the one that has just ended, passed a limit: it is not for the parser.
  bool too_large() const { return too_large_; }
  // Of the present reply, or the one that has just ended.
  std::size_t bytes() const { return bytes_; }

 private:
  void begin_reply();
  // A whole line was read: what it announces. False where it is none of RESP 2.
  bool on_line();

  bool complete_ = true;  // the next byte begins a reply
  bool too_large_ = false;
  std::size_t bytes_ = 0;
  std::size_t values_ = 0;       // announced
  std::size_t values_due_ = 0;   // announced and not read
  std::size_t payload_due_ = 0;  // bytes of the present string, and its line's end
  std::string line_;             // its beginning: more is not needed
  std::size_t line_bytes_ = 0;
};

}  // namespace p2p::net
