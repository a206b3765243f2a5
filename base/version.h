// The version of the program, as --version and the metrics say it. That of the protocol is
// peer::kProtocolVersion. The changelog of the Debian package says both too.
#pragma once

namespace p2p {

inline constexpr char kProgramVersion[] = "0.1.0";
inline constexpr char kReleaseDate[] = "2026-11-28";

}  // namespace p2p
