// p2p fetch -o -: the content to stdout, in order and while it is being fetched.
#pragma once

#include "net/fetch.h"

namespace p2p::cli {

// Fetches into a folder of its own in TMPDIR (/var/tmp where that is not set), which is removed at
// the end; each chunk is written when all before it were. kUsage for the content of a folder.
Status fetch_to_stdout(net::FetchConfig config, net::FetchHandlers handlers);

}  // namespace p2p::cli
