// The exit codes of p2p; the README documents them.
#pragma once

#include "base/result.h"

namespace p2p::cli {

enum ExitCode : int {
  kOk = 0,
  kFailed = 1,  // a disk or socket said no
  kUsage = 2,
  kMalformed = 3,    // the link, or what it names
  kUnreachable = 4,  // no peer has what is missing
  kRefused = 5,      // wrong secret
  kDiskFull = 6,
  kExists = 7,
  kCorrupt = 8,  // content corrupt, or source changed
  kLimit = 9,
  kInterrupted = 130,
};

struct ExitMeaning {
  ExitCode code;
  const char* text;
};

// For people, as the README has it too.
inline constexpr ExitMeaning kExitMeanings[] = {
    {kOk, "done; for `fetch`: complete, verified, synced, in its place"},
    {kFailed, "another failure, or the disk or network said no"},
    {kUsage, "usage: the command line makes no sense"},
    {kMalformed, "the link is malformed"},
    {kUnreachable, "no peer could be reached"},
    {kRefused, "refused: the other side does not accept the secret"},
    {kDiskFull, "the disk is full"},
    {kExists, "the target exists, or another fetch is writing it"},
    {kCorrupt, "the content is corrupt, or the source changed"},
    {kLimit, "a limit was passed"},
    {kInterrupted, "interrupted"},
};

inline ExitCode exit_code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage:
      return kUsage;
    case ErrorCode::kMalformed:
      return kMalformed;
    case ErrorCode::kLimit:
      return kLimit;
    case ErrorCode::kUnreachable:
      return kUnreachable;
    case ErrorCode::kRefused:
      return kRefused;
    case ErrorCode::kDiskFull:
      return kDiskFull;
    case ErrorCode::kExists:
      return kExists;
    case ErrorCode::kCorrupt:
      return kCorrupt;
    case ErrorCode::kInterrupted:
      return kInterrupted;
    case ErrorCode::kIo:
      return kFailed;
  }
  return kFailed;
}

// The kind of error that another process of ours exited with, or tells of.
inline ErrorCode error_code_of(int exit_code) {
  for (const ErrorCode code : {ErrorCode::kUsage, ErrorCode::kMalformed, ErrorCode::kLimit,
                               ErrorCode::kUnreachable, ErrorCode::kRefused, ErrorCode::kDiskFull,
                               ErrorCode::kExists, ErrorCode::kCorrupt, ErrorCode::kInterrupted})
    if (exit_code_of(code) == exit_code) return code;
  return ErrorCode::kIo;
}

}  // namespace p2p::cli
