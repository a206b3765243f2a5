#!/bin/sh
# On a host: brings a version into FOLDER/releases/ID and points FOLDER/current at it. Ansible's role and deploy.sh run it
# over ssh, so nothing but p2p itself has to be there before.
#
#   release.sh FOLDER release LINK [--keep N] [--then COMMAND] [-- FETCH-FLAG...]
#   release.sh FOLDER rollback BAD [--then COMMAND]    a host on which BAD (a link or an id) is not current stays as it is
#   release.sh FOLDER status
#
#   LINK, BAD: `-` reads it from stdin, so that no list of processes shows it. N: how many versions stay, with the present
#   one; 3. COMMAND: run by sh after the switch, where there was one.
#
#   FOLDER/releases/ID   whole versions: ID is the content's id. A fetch that broke off leaves nothing of that name.
#   FOLDER/current       a symbolic link to one of them, replaced in one step
#   FOLDER/history       ids of what was current, the last at the end: what a rollback goes back to
#   FOLDER/.then-pending there while COMMAND is still to run: a release that is run again runs it too
#
# Where an agent is enabled, it fetches, and keeps what is in releases/ for other hosts (p2p pin); where none is, p2p fetches by
# itself, and takes from the present version what the new one shares with it.
#
# The last line of stdout: "released ID", "rolled back to ID", "unchanged ID", or for status "current ID". Exit codes are those of `p2p fetch`.
set -eu

KEEP=3
AGENT_TIMEOUT_S=30 # after a boot it may just be starting

say() { printf '%s\n' "$*"; }
die() {
  printf 'release: %s\n' "$2" >&2
  exit "$1"
}
usage() { die 2 "$1; usage: release.sh FOLDER release LINK [--keep N] [--then COMMAND] [-- FETCH-FLAG...] | rollback BAD | status"; }

is_id() {
  case $1 in
    *[!0-9a-f]*) return 1 ;;
  esac
  [ ${#1} = 64 ]
}

# id_of LINK-OR-ID: the content's id in hexadecimal digits, which a link has in base64url
id_of() {
  if is_id "$1"; then
    echo "$1"
    return
  fi
  part=${1#p2p://}
  part=${part%%[/#]*}
  case $1 in
    p2p://*) ;;
    *) die 3 "this is neither a p2p link nor the id of a content, which has 64 digits" ;;
  esac
  [ ${#part} = 43 ] || die 3 "this is not a p2p link: its id has ${#part} characters, not 43"
  id=$(printf '%s=' "$part" | tr -- '-_' '+/' | base64 -d 2>/dev/null | od -An -v -tx1 | tr -d ' \n') || id=
  is_id "$id" || die 3 "this is not a p2p link: its id cannot be read"
  echo "$id"
}

# What `current` points to, also where that is gone
current() {
  target=$(readlink "$FOLDER/current" 2>/dev/null) || target=
  target=${target#releases/}
  if is_id "$target"; then echo "$target"; fi
}

# history [UNTIL]: what was current, the last at the end, or up to where UNTIL became so; only what is still there
history() {
  [ -e "$FOLDER/history" ] || return 0
  while read -r id; do
    [ "$id" != "${1:-}" ] || break
    if is_id "$id" && [ -e "$FOLDER/releases/$id" ]; then echo "$id"; fi
  done <"$FOLDER/history"
}

# make_current ID: all that reads through `current` sees the old version or the new one, also across a power cut
make_current() {
  ln -sfn "releases/$1" "$FOLDER/.current.next"
  sync -- "$FOLDER/releases"
  mv -fT "$FOLDER/.current.next" "$FOLDER/current"
  sync -- "$FOLDER"
}

# write_history: stdin becomes the history
write_history() {
  cat >"$FOLDER/.history.next"
  sync -- "$FOLDER/.history.next"
  mv -f "$FOLDER/.history.next" "$FOLDER/history"
}

agent_answers() { p2p status >/dev/null 2>&1; }
agent_is_enabled() { command -v systemctl >/dev/null && systemctl -q is-enabled p2p-agent 2>/dev/null; }

# with_agent: waits for one that is to be there; 1 where there is none.
with_agent() {
  [ -z "${P2P_NO_AGENT:-}" ] || return 1
  left=$AGENT_TIMEOUT_S
  until agent_answers; do
    agent_is_enabled || return 1
    [ "$left" -gt 0 ] || die 4 "$(hostname): p2p-agent is enabled and does not answer: systemctl status p2p-agent"
    left=$((left - 1))
    sleep 1
  done
}

fetch() {
  set -- - -o "$FOLDER/releases/$ID" "$@"
  agent=
  if with_agent; then
    agent=yes
  elif [ -e "$FOLDER/current" ]; then
    set -- "$@" --from "$(readlink -f "$FOLDER/current")"
  fi
  printf '%s\n' "$LINK" | p2p fetch "$@" ||
    die "$?" "$(hostname): version $ID could not be fetched (see above); what was current still is. Run it again to go on where it stopped"
  if [ -n "$agent" ]; then p2p pin "$ID" || say "$(hostname): the agent may let go of $ID" >&2; fi
}

# Of what is no longer in the history: the agent's hold on it, its folder, and what a fetch of it left. What goes wrong here is
# put right by the next release.
remove_old() {
  kept=" $(history | tr '\n' ' ') $(current) "
  for entry in "$FOLDER/releases"/* "$FOLDER/releases"/.[!.]*; do
    [ -e "$entry" ] || continue
    name=${entry##*/}
    name=${name#.}
    id=${name%%.*}
    is_id "$id" || continue
    case $kept in *" $id "*) continue ;; esac
    if agent_answers; then
      p2p unpin "$id" >/dev/null 2>&1 || true # it may not have it any more
    elif [ -z "${P2P_NO_AGENT:-}" ] && agent_is_enabled; then
      say "$(hostname): $id stays, as the agent cannot be told" >&2
      continue
    fi
    rm -rf -- "$entry" || say "$(hostname): $id could not be removed" >&2
  done
}

# run_then: the command after a switch, where there is one
run_then() {
  [ -n "$THEN" ] || return 0
  sh -c "$THEN" 9>&- </dev/null >&2 ||
    die 1 "$(hostname): $1 is current now, but this failed: $THEN. Run the release again to run it again"
  rm -f "$FOLDER/.then-pending"
}

# switch_to ID: with stdin as the history
switch_to() {
  write_history
  if [ -n "$THEN" ]; then : >"$FOLDER/.then-pending"; fi
  make_current "$1"
  run_then "$1"
}

release() {
  was=$(current)
  if [ "$was" = "$ID" ] && [ -e "$FOLDER/current" ]; then
    if [ -n "$THEN" ] && [ -e "$FOLDER/.then-pending" ]; then
      run_then "$ID"
      say "released $ID"
    else
      say "unchanged $ID"
    fi
    return
  fi
  if [ ! -e "$FOLDER/releases/$ID" ]; then fetch "$@"; fi
  {
    # What stands behind the present one never became current.
    {
      history "$was"
      [ -z "$was" ] || [ ! -e "$FOLDER/releases/$was" ] || echo "$was"
    } | grep -vx "$ID" || true
    echo "$ID"
  } | tail -n "$KEEP" | switch_to "$ID"
  remove_old
  say "released $ID"
}

rollback() {
  was=$(current)
  if [ "$was" != "$ID" ]; then
    say "unchanged ${was:-(nothing is current)}"
    return
  fi
  before=$(history "$ID" | tail -n 1)
  [ -n "$before" ] || die 1 "$(hostname): there is no version before $ID in $FOLDER/releases"
  history "$ID" | switch_to "$before"
  say "rolled back to $before"
}

status() {
  was=$(current)
  history "$was" | sed 's/^/before /'
  say "current ${was:-(none)}"
}

[ $# -ge 2 ] || usage "a folder and what to do are needed"
FOLDER=$1
command=$2
shift 2
case $FOLDER in
  /*) ;;
  *) usage "the folder's path must start at /" ;;
esac

THEN=
case $command in
  release | rollback)
    [ $# -ge 1 ] || usage "$command: which version?"
    LINK=$1
    shift
    if [ "$LINK" = - ]; then read -r LINK || [ -n "$LINK" ] || die 3 "there is no link on stdin"; fi
    ID=$(id_of "$LINK")
    ;;
esac
while [ $# -gt 0 ]; do
  case $1 in
    --keep) KEEP=${2:-} ;;
    --then) THEN=${2:-} ;;
    --) break ;;
    *) usage "'$1' is not known" ;;
  esac
  [ $# -ge 2 ] || usage "$1 needs a value"
  shift 2
done
[ "${1:-}" != -- ] || shift
case $KEEP in
  '' | *[!0-9]* | 0*) usage "--keep takes a number from 1 on" ;;
esac

command -v p2p >/dev/null || die 1 "$(hostname): p2p is not installed"
lock() {
  exec 9>"$FOLDER/.lock"
  flock -n 9 || die 7 "$(hostname): another release is under way in $FOLDER"
  if [ -e "$FOLDER/current" ] && [ ! -L "$FOLDER/current" ]; then
    die 7 "$(hostname): $FOLDER/current is there and is no symbolic link: move it away"
  fi
}

case $command in
  release)
    mkdir -p -- "$FOLDER/releases"
    lock
    release "$@"
    ;;
  rollback)
    [ -d "$FOLDER/releases" ] || die 1 "$(hostname): nothing was ever released to $FOLDER"
    lock
    rollback
    ;;
  status) status ;;
  *) usage "'$command' is not known" ;;
esac
