// Control: what the commands on an agent's host ask of it, over its Unix socket. One JSON object a
// line each way; the first line of a connection says what is wanted ("op"), the answers have an
// "event": any number of "progress", then one "done", "ready" or "error". Who may open the socket
// may ask for anything.
//
//   op       takes                                  answers with
//   fetch    link, patience, pin, detach            progress (the fields of `fetch --json`), then
//                                                   ready: id, name, bytes, data, manifest. What is
//                                                   at `data` stays while the connection is open.
//                                                   detach: done at once
//   seed     path, link, trackers, chunk_bytes,     progress (bytes_hashed), then done: link
//            rehash
//   list                                            done: contents
//   link     id                                     done: link
//   pin, unpin, rm    id                            done
//   gc                                              done: bytes removed
//   status                                          done: see status_json()
//
// An error has "exit_code" (tools/p2p/exit_code.h) and "message".
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "agent/agent.h"
#include "net/line_server.h"

namespace p2p::agent {

class Control {
 public:
  // `exit_code_of`: as the command line has it.
  Control(net::Loop& loop, Agent& agent, std::function<int(ErrorCode)> exit_code_of);
  // Releases all orders.
  ~Control();

  Status listen(const std::filesystem::path& path);

 private:
  struct Client {
    std::optional<OrderId> order;
    bool busy = false;  // has asked for something
  };

  void on_line(net::LineClientId id, std::string_view line);
  void on_closed(net::LineClientId id);
  void fetch(net::LineClientId id, const nlohmann::json& request);
  void seed(net::LineClientId id, const nlohmann::json& request);
  void end(net::LineClientId id, const Result<nlohmann::json>& outcome);
  void send(net::LineClientId id, const nlohmann::json& answer);
  Result<nlohmann::json> carry_out(const std::string& op, const nlohmann::json& request);
  Result<nlohmann::json> change(const std::string& op, const ContentId& content);

  net::Loop& loop_;
  Agent& agent_;
  std::function<int(ErrorCode)> exit_code_of_;
  std::map<net::LineClientId, Client> clients_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<net::LineServer> server_;
};

// Of a fetch, as `fetch --json` prints it.
nlohmann::json progress_json(const net::FetchProgress& progress);
// Of the agent, and of its contents.
nlohmann::json status_json(const Agent& agent);
nlohmann::json contents_json(const Agent& agent);

}  // namespace p2p::agent
