// The version of the program, as --version and the metrics say it. That of the protocol is
// peer::kProtocolVersion.
#pragma once

namespace p2p {

inline constexpr char kProgramVersion[] = "0.1.0";

}  // namespace p2p
