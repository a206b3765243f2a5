#!/bin/sh
# On a host with systemd: installs the package that lies beside this file (p2p.deb), the cluster's key (cluster.key) and
# the configuration (agent.toml, tracker.toml), each where it is there, and starts the services that are configured. What is
# as it should be already stays untouched. deploy.sh brings it here; Ansible's role does the same with its own means.
#
# The last line of stdout: "installed" or "unchanged". Exit code 1: what failed is on stderr.
set -eu
cd "$(dirname "$0")"

changed=
restart=
die() {
  printf 'install: %s: %s\n' "$(hostname)" "$*" >&2
  exit 1
}

install_package() {
  command -v dpkg >/dev/null || die "this is no Debian: install the binary by hand"
  new=$(dpkg-deb -f p2p.deb Version)
  old=$(dpkg-query -W -f '${db:Status-Abbrev}${Version}' p2p 2>/dev/null) || old=
  [ "$old" = "ii $new" ] && return
  # The host's own configuration stays, whatever the package brings.
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends --allow-downgrades \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef \
    ./p2p.deb >apt.log 2>&1 </dev/null || {
    cat apt.log >&2
    die "the package could not be installed (see above)"
  }
  changed=yes
  restart=yes
}

# put FILE MODE GROUP: into /etc/p2p, where it is not there yet
put() {
  [ -e "$1" ] || return 0
  if cmp -s "$1" "/etc/p2p/$1" && [ "$(stat -c %a:%G "/etc/p2p/$1")" = "$2:$3" ]; then return 0; fi
  install -D -m "$2" -o root -g "$3" "$1" "/etc/p2p/.$1.next"
  mv -f "/etc/p2p/.$1.next" "/etc/p2p/$1"
  changed=yes
  [ "$1" = cluster.key ] || restart=yes
}

# run SERVICE: enabled, and started; again where its program or its configuration changed
run() {
  [ -e "$1.toml" ] || return 0
  if ! systemctl -q is-enabled "p2p-$1"; then
    systemctl -q enable "p2p-$1"
    changed=yes
  fi
  if [ -n "$restart" ]; then
    systemctl restart "p2p-$1" || explain "$1"
  elif ! systemctl -q is-active "p2p-$1"; then
    systemctl start "p2p-$1" || explain "$1"
    changed=yes
  fi
}
explain() {
  journalctl -q -u "p2p-$1" -n 10 -o cat >&2 || true
  die "p2p-$1 does not start (see above)"
}

[ "$(id -u)" = 0 ] || die "this needs root"
if [ -e p2p.deb ]; then install_package; fi
command -v p2p >/dev/null || die "p2p is not installed, and no package was given"
put cluster.key 640 p2p # taken over within seconds by whoever runs
put agent.toml 644 root
put tracker.toml 644 root
run tracker
run agent
if [ -n "$changed" ]; then echo installed; else echo unchanged; fi
