#!/bin/sh
# Turns this process into the first one of a host: systemd on a root of its own, in the network namespace that it is in
# already. See host.py.
#
#   boot.sh BASE FOLDER NAME CGROUP
#
# BASE is an installed Debian, which stays as it is; what the host writes goes to FOLDER, its disk. CGROUP is a new folder of
# the unified hierarchy.
set -eu

if [ "${5:-}" != inside ]; then
  mkdir -p "$2/disk" "$2/work" "$2/root"
  mkdir "$4"
  echo $$ >"$4/cgroup.procs"
  exec unshare --mount --pid --uts --ipc --cgroup --fork --kill-child --propagation private "$0" "$1" "$2" "$3" "$4" inside
fi

hostname "$3"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/disk,workdir=$2/work" "$2/root"
cd "$2/root"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys # written to by nobody: the devices are the machine's
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
  touch "dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mkdir -p mnt
pivot_root . mnt
cd /
umount -l /mnt
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd </dev/null
