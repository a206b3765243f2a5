// Result<T>: a value or an Error, with the names of C++23's std::expected. The one error type of
// p2p: it carries what failed, on which path or address, and what to do, up to the person who ran
// the command.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace p2p {

// What kind of failure it is; the command line maps each kind to its exit code
// (tools/p2p/exit_code.h).
enum class ErrorCode {
  kUsage,        // the person asked for something that makes no sense
  kMalformed,    // bytes or text from outside that do not follow the format
  kLimit,        // a named limit was passed
  kUnreachable,  // no peer answered
  kRefused,      // the other side does not accept our secret
  kDiskFull,
  kExists,   // the target is already there, or another fetch is writing it
  kCorrupt,  // content that does not match its hashes, or a source that changed
  kInterrupted,
  kIo,  // a disk or socket said no
};

struct [[nodiscard]] Error {
  ErrorCode code = ErrorCode::kIo;
  std::string message;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() & { return check(), std::get<0>(state_); }
  const T& value() const& { return check(), std::get<0>(state_); }
  T&& value() && { return check(), std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& { return P2P_CHECK(!has_value()), std::get<1>(state_); }
  Error&& error() && { return P2P_CHECK(!has_value()), std::get<1>(std::move(state_)); }

 private:
  void check() const { P2P_CHECK(has_value()); }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : failed_(true), error_(std::move(error)) {}

  bool has_value() const { return !failed_; }
  explicit operator bool() const { return has_value(); }
  const Error& error() const& { return P2P_CHECK(failed_), error_; }
  Error&& error() && { return P2P_CHECK(failed_), std::move(error_); }

 private:
  bool failed_ = false;
  Error error_;
};

using Status = Result<void>;

}  // namespace p2p

#define P2P_CONCAT_INNER(a, b) a##b
#define P2P_CONCAT(a, b) P2P_CONCAT_INNER(a, b)

// P2P_TRY(expression): returns the error of a Status or Result from the function around it.
#define P2P_TRY(expression)                                      \
  do {                                                           \
    if (auto p2p_status = (expression); !p2p_status.has_value()) \
      return std::move(p2p_status).error();                      \
  } while (false)

// P2P_ASSIGN(declaration, expression): the same, and binds the value.
#define P2P_ASSIGN(declaration, expression) \
  P2P_ASSIGN_INNER(P2P_CONCAT(p2p_result_, __LINE__), declaration, expression)
#define P2P_ASSIGN_INNER(name, declaration, expression)  \
  auto name = (expression);                              \
  if (!name.has_value()) return std::move(name).error(); \
  declaration = *std::move(name)
