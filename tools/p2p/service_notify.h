// What a service tells systemd, or whatever speaks that protocol: sd_notify(3) without its library.
#pragma once

namespace p2p::cli {

enum class ServiceState {
  kReady,      // also after a reload
  kReloading,  // until kReady
  kStopping,
};

// Tells the socket that NOTIFY_SOCKET names; says nothing where none is named or nobody listens: a
// service that cannot tell still serves.
void notify_service(ServiceState state);

}  // namespace p2p::cli
