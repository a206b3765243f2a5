#!/usr/bin/env bash
# Installs p2p on many hosts and releases versions to them, by ssh alone: for those who have no Ansible.
#
#   deploy.sh HOSTS install [--package P2P.deb] [--key FILE] [--agent AGENT.toml] [--tracker TRACKER.toml]
#   deploy.sh HOSTS release FOLDER LINK-OR-PATH [--keep N] [--then COMMAND] [-- FETCH-FLAG...]
#   deploy.sh HOSTS rollback FOLDER BAD [--then COMMAND]     BAD: the link, id or path of what must not run any more
#   deploy.sh HOSTS status FOLDER
#
# HOSTS is a file with a host a line, as ssh takes it (web-1, deploy@web-2); '#' starts a comment. Who logs in is root, or may
# use sudo without a password. A PATH is seeded from here until all hosts have it: by this host's agent where one runs (it goes
# on afterwards), or by a `p2p seed` of its own, whose flags P2P_TRACKER, P2P_CLUSTER_KEY and so on give. Its link is printed
# first: to release the very same again later, to hosts that were off, name the link. `-` for it reads it from stdin.
#
# Each host says a line when it is done. Run it again for those that failed: what is done stays untouched. Exit code 0: all are
# as they should be; 1: not all, and which is the last line; 2: the command line makes no sense.
#
# Environment: P2P_SSH, the command that reaches a host (ssh -o BatchMode=yes -o ConnectTimeout=10);
#              P2P_PARALLEL, how many hosts at once (50).
set -euo pipefail

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")

die() {
  printf 'deploy: %s\n' "$*" >&2
  exit 2
}
usage() {
  sed -n '4,7s/^#   */  /p' "$HERE/deploy.sh" >&2
  die "$*"
}

# quoted WORD...: as a shell of whatever kind reads them again
quoted() {
  local word
  for word in "$@"; do printf " '%s'" "${word//\'/\'\\\'\'}"; done
}

# one_host WORK WORD... HOST: the bundle goes there, its script runs as root, and what it told comes back. Link and key travel
# within the bundle, so that no list of processes shows them.
one_host() {
  local work=$1 host=${*: -1} words=("${@:2:$#-2}") ssh status=0
  read -ra ssh <<<"${P2P_SSH:-ssh -o BatchMode=yes -o ConnectTimeout=10}"
  # What is single-quoted is for the host to expand.
  # shellcheck disable=SC2016
  "${ssh[@]}" "$host" 'root=; [ "$(id -u)" = 0 ] || root="sudo -n"
    d=$(mktemp -d) && tar -C "$d" --no-same-owner --no-same-permissions -xf - && $root sh "$d/script.sh"'"$(quoted "${words[@]}")"' <"$d/stdin"
    e=$?; rm -rf "$d"; exit $e' <"$work/bundle.tar" >"$work/told/$host" 2>"$work/said/$host" || status=$?
  if ((status == 0)) && [[ -s $work/told/$host ]]; then
    sed "s/^/$host: /" "$work/told/$host" # a line, so that lines of several hosts do not mix
    tail -n 1 "$work/told/$host" | sed -E 's/([0-9a-f]{12})[0-9a-f]{52}/\1/' >"$work/done/$host"
  else
    sed "s/^/$host: /" "$work/said/$host" >&2
    echo "$host: failed (exit code $status)"
  fi
}

# all_hosts WORD...: the script of the bundle with these arguments on all hosts, some at once; then the sum of them.
all_hosts() {
  local host failed=()
  (cd "$WORK/bundle" && tar -cf "$WORK/bundle.tar" -- *) # not the folder itself, whose owner and mode would go with it
  printf '%s\0' "${HOSTS[@]}" |
    xargs -0 -n 1 -P "$PARALLEL" "$HERE/deploy.sh" internal-one-host "$WORK" "$@" || true # told by what is done
  find "$WORK/done" -type f -exec cat '{}' + | sort | uniq -c | while read -r count what; do
    echo "$what: $count of ${#HOSTS[@]}"
  done
  for host in "${HOSTS[@]}"; do
    [[ -s $WORK/done/$host ]] || failed+=("$host")
  done
  ((${#failed[@]})) || return 0
  echo "failed: ${#failed[@]} of ${#HOSTS[@]}: ${failed[*]}"
  return 1
}

# link_of PATH: seeds it, and prints its link. An agent goes on by itself; else this does, until all are done.
link_of() {
  local link
  : >"$WORK/link"
  p2p seed "$1" </dev/null >"$WORK/link" 2>"$WORK/seed.log" &
  echo $! >"$WORK/seed.pid"
  # The first line comes when all of it is hashed.
  while kill -0 "$(<"$WORK/seed.pid")" 2>/dev/null && [[ ! -s $WORK/link ]]; do sleep 0.1; done
  read -r link <"$WORK/link" || {
    cat "$WORK/seed.log" >&2
    return 1
  }
  echo "$link"
}

# bundle SCRIPT [LINE]: what the hosts are to run, and what it is to read
bundle() {
  cp "$HERE/$1" "$WORK/bundle/script.sh"
  printf '%s\n' "${2:-}" >"$WORK/bundle/stdin"
}

install() {
  bundle install.sh
  while (($#)); do
    (($# >= 2)) || usage "$1 needs a file"
    [[ -r $2 ]] || die "there is no file '$2' to read"
    case $1 in
      --package) cp "$2" "$WORK/bundle/p2p.deb" ;;
      --key) cp "$2" "$WORK/bundle/cluster.key" ;;
      --agent) cp "$2" "$WORK/bundle/agent.toml" ;;
      --tracker) cp "$2" "$WORK/bundle/tracker.toml" ;;
      *) usage "install: '$1' is not known" ;;
    esac
    shift 2
  done
  all_hosts
}

# release and rollback FOLDER VERSION ...
on_versions() {
  local command=$1 folder=${2:-} version=${3:-} link
  [[ -n $folder && -n $version ]] || usage "$command: a folder on the hosts and a version are needed"
  if [[ $version == - ]]; then
    read -r link || die 'there is no link on stdin'
  elif [[ -e $version ]]; then
    if [[ $command == rollback ]]; then
      link=$(p2p inspect --json "$version" | grep -oE '"content":"[0-9a-f]{64}"' | cut -d '"' -f 4)
    else
      link=$(link_of "$version") || die "'$version' cannot be seeded (see above)"
      echo "link: $link"
    fi
  else
    link=$version
  fi
  bundle release.sh "$link"
  all_hosts "$folder" "$command" - "${@:4}"
}

status() {
  [[ -n ${1:-} ]] || usage 'status: which folder on the hosts?'
  bundle release.sh
  all_hosts "$1" status
}

PARALLEL=${P2P_PARALLEL:-50}
[[ $PARALLEL =~ ^[1-9][0-9]{0,3}$ ]] || die "P2P_PARALLEL is a number from 1 to 9999, not '$PARALLEL'"

if [[ ${1:-} == internal-one-host ]]; then
  shift
  one_host "$@"
  exit
fi

(($# >= 2)) || usage 'a file of hosts and what to do are needed'
[[ -r $1 ]] || die "there is no file '$1' of hosts to read"
mapfile -t HOSTS < <(sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e 's/^[[:space:]]*//' -e '/^$/d' "$1" | sort -u)
((${#HOSTS[@]})) || die "'$1' names no host"
for host in "${HOSTS[@]}"; do
  # It becomes a word of ssh's command line and the name of a file.
  [[ $host =~ ^[A-Za-z0-9_][A-Za-z0-9_.:@-]*$ ]] || die "'$1': '$host' is no name of a host"
done

umask 077
WORK=$(mktemp -d)
clean_up() {
  if [[ -e $WORK/seed.pid ]]; then kill "$(<"$WORK/seed.pid")" 2>/dev/null || true; fi
  rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir "$WORK/bundle" "$WORK/told" "$WORK/said" "$WORK/done"

command=$2
shift 2
case $command in
  install) install "$@" ;;
  release | rollback) on_versions "$command" "$@" ;;
  status) status "$@" ;;
  *) usage "'$command' is not known" ;;
esac
