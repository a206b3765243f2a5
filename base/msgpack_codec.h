// Strict reading and terse writing of msgpack. Only the codec files of the rooms include this.
//
// Untrusted bytes are walked once without allocating: nesting, claimed counts and lengths are held
// against the bytes really there, so that a claim of 2^32-1 elements costs nothing. Exceptions of
// the library end here.
#pragma once

#include <cstdint>
#include <msgpack.hpp>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/limits.h"
#include "base/result.h"

namespace p2p {

using MsgpackBuffer = msgpack::sbuffer;
using MsgpackWriter = msgpack::packer<msgpack::sbuffer>;
using MsgpackValue = msgpack::object;

// Writes a binary and a string value.
void write_bin(MsgpackWriter& writer, ByteView bytes);
void write_str(MsgpackWriter& writer, std::string_view text);
// `head` is what the bytes are to stand behind.
Bytes to_bytes(const MsgpackBuffer& buffer, Bytes head = {});

// Decodes exactly one value that fills `bytes`. Its strings and binaries point into `bytes`,
// which must outlive the handle. `what` names the thing in errors ("manifest", "announce").
Result<msgpack::object_handle> read_msgpack(ByteView bytes, std::size_t max_bytes,
                                            std::string_view what);

// Typed access: an error names the field. Integers must not be negative nor above `max`.
Result<std::uint64_t> as_uint(const MsgpackValue& value, std::uint64_t max, std::string_view field);
Result<bool> as_bool(const MsgpackValue& value, std::string_view field);
Result<ByteView> as_bin(const MsgpackValue& value, std::size_t max_bytes, std::string_view field);
Result<std::string_view> as_str(const MsgpackValue& value, std::size_t max_bytes,
                                std::string_view field);
// The elements of an array of at most `max` elements; valid while the handle lives.
Result<std::span<const MsgpackValue>> as_array(const MsgpackValue& value, std::size_t max,
                                               std::string_view field);
// The same of exactly `count` elements.
Result<std::span<const MsgpackValue>> as_tuple(const MsgpackValue& value, std::size_t count,
                                               std::string_view field);

}  // namespace p2p
