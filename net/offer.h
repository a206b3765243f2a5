// Offer: a content that this host has all of, as one of a node's swarms.
#pragma once

#include <memory>

#include "content/chunk_reader.h"
#include "content/manifest.h"
#include "net/link_owners.h"
#include "net/node.h"

namespace p2p::net {

struct Offer {
  ContentId content;
  std::shared_ptr<const Manifest> manifest;
  Bytes encoded_manifest;
  std::shared_ptr<const ChunkReader> reader;
  Secret psk;
  LinkOwners owners;
  std::string zone;
  // How others reach this host: behind a port mapping it is the mapped port that they can dial.
  std::uint16_t listen_port = 0;
  std::vector<Endpoint> advertised;  // empty: as it knows itself
  // A source that changed under us; it is logged where this is null.
  std::function<void(const Error&)> on_source_failed = nullptr;
};

// Hosts it, and announces it at the owners and, where the node is a member of a cluster, at the
// hash table.
HostedSwarm& offer(Node& node, Offer offered);

}  // namespace p2p::net
