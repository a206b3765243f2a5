#include "tests/content/child.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fstream>

namespace p2p::test {
namespace {

constexpr const char* kSkip = "skip: ";
constexpr uid_t kNobody = 65534;

std::string outcome_of(const std::function<void()>& body) {
  try {
    body();
    return "done";
  } catch (const ChildFailed& failed) {
    return failed.why;
  } catch (const ChildSkips& skips) {
    return kSkip + skips.why;
  } catch (const std::exception& unexpected) {
    return std::string("it threw ") + unexpected.what();
  } catch (...) {
    return "it threw something";
  }
}

[[noreturn]] void skip(const char* what) {
  throw ChildSkips{std::string(what) + ": " + std::strerror(errno)};
}

}  // namespace

void expect(bool holds, const std::string& otherwise) {
  if (!holds) throw ChildFailed{otherwise};
}

std::string in_child(const std::function<void()>& body) {
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    close(ends[0]);
    const std::string outcome = outcome_of(body);
    const bool told =
        write(ends[1], outcome.data(), outcome.size()) == static_cast<ssize_t>(outcome.size());
    _exit(told ? 0 : 1);
  }
  close(ends[1]);
  std::string told;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
    told.append(buffer, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  if (told.rfind(kSkip, 0) == 0) {
    WARN(told);
    return {};
  }
  if (told == "done" && WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return "the child ended with status " + std::to_string(status) + ": " + told;
}

void become_nobody() {
  if (geteuid() != 0) return;
  if (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0)
    skip("cannot become another user");
}

void mount_memory(const std::string& path, const std::string& options) {
  const uid_t user = geteuid();
  if (unshare(user == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0)
    skip("no mounts of one's own");
  if (user != 0) std::ofstream("/proc/self/uid_map") << user << " " << user << " 1";
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("tmpfs", path.c_str(), "tmpfs", 0, options.c_str()) != 0)
    skip("cannot mount a tmpfs");
}

void remount_read_only(const std::string& path) {
  if (mount("tmpfs", path.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, nullptr) != 0)
    skip("cannot remount");
}

void forbid_newer_calls() {
  // The flags of renameat2 are its fifth argument; the lower half of it, which little-endian
  // machines have first.
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[4])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{sizeof filter / sizeof filter[0], filter};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    skip("no system call filters");
}

}  // namespace p2p::test
