#include "net/offer.h"

#include <utility>

#include "crypto/digest.h"
#include "net/log.h"

namespace p2p::net {

HostedSwarm& offer(Node& node, Offer offered) {
  SessionConfig session;
  session.content = offered.content;
  session.swarm = swarm_id_of(offered.content, offered.psk);
  session.psk = offered.psk;
  session.listen_port = offered.listen_port;
  session.advertised = std::move(offered.advertised);
  session.book.zone = std::move(offered.zone);
  SessionHandlers handlers;
  handlers.on_manifest = [](const Bytes&) {};
  handlers.on_completed = [] {};
  handlers.on_store_failed = [](const Error&) {};
  handlers.on_source_failed = offered.on_source_failed
                                  ? std::move(offered.on_source_failed)
                                  : [](const Error& why) { log_warn(why.message); };
  handlers.on_problem = [](const std::string&, peer::Problem, ChunkIndex) {};
  HostedSwarm& swarm = node.host(std::move(session), std::move(handlers));
  const Layout layout = offered.manifest->layout();
  auto io = std::make_shared<ContentIo>(ContentIo{std::move(offered.manifest), layout,
                                                  std::move(offered.reader), nullptr,
                                                  std::move(offered.encoded_manifest)});
  swarm.session().start(std::move(io), Bitfield(layout.chunk_count(), true));
  node.announce(swarm, offered.owners);
  return swarm;
}

}  // namespace p2p::net
