// Bodies of tests that need a process of their own: to be killed, or with limits, users, mounts and
// system calls that differ.
#pragma once

#include <functional>
#include <string>

namespace p2p::test {

// In a child: what it throws ends it, and is what in_child() returns.
struct ChildFailed {
  std::string why;
};
// Not to be had on this machine; in_child() warns and counts it as a success.
struct ChildSkips {
  std::string why;
};
void expect(bool holds, const std::string& otherwise);

// Runs the body in a forked child without other threads. Empty when it succeeded. Catch's own
// checks do not work in there.
std::string in_child(const std::function<void()>& body);

// For the child to call.
void become_nobody();                                                    // if it is root
void mount_memory(const std::string& path, const std::string& options);  // a tmpfs seen by it alone
void remount_read_only(const std::string& path);
void forbid_newer_calls();  // openat2, and renameat2 with flags, as on an older kernel

}  // namespace p2p::test
