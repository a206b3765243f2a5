// Linked into what is built with the thread sanitizer, with --wrap=syscall.
//
// libuv closes descriptors by syscall(SYS_close), which the sanitizer does not see, for the library
// as Debian builds it knows nothing of sanitizers. So the sanitizer takes the next file or socket
// of the same number, in any thread, for the one that was closed, and reports races between the
// two. Told of each close, it has nothing to report; and it goes on checking descriptors.
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);

long __wrap_syscall(long number, ...) {
  long argument[6];  // the kernel takes no more; those not given are not looked at
  va_list arguments;
  va_start(arguments, number);
  for (int i = 0; i < 6; ++i) argument[i] = va_arg(arguments, long);
  va_end(arguments);
  if (number == SYS_close) return close((int)argument[0]);
  return __real_syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4],
                        argument[5]);
}
