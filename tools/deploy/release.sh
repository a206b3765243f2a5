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
#
# The last line of stdout: "released ID", "rolled back to ID", "unchanged ID", or for status "current ID". Exit codes are those of `p2p fetch`.
set -eu

KEEP=3

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
    *) die 3 "this is neither a p2p link nor the id of a content" ;;
  esac
  [ ${#part} = 43 ] || die 3 "this is not a p2p link: its id has ${#part} characters, not 43"
  id=$(printf '%s=' "$part" | tr -- '-_' '+/' | base64 -d 2>/dev/null | od -An -v -tx1 | tr -d ' \n') || id=
  is_id "$id" || die 3 "this is not a p2p link: its id cannot be read"
  echo "$id"
}

current() {
  target=$(readlink "$FOLDER/current" 2>/dev/null) || target=
  target=${target#releases/}
  if is_id "$target" && [ -e "$FOLDER/releases/$target" ]; then echo "$target"; fi
}

# history_without ID: the versions before, the last at the end; only those that are still there
history_without() {
  [ -e "$FOLDER/history" ] || return 0
  while read -r id; do
    if is_id "$id" && [ "$id" != "$1" ] && [ -e "$FOLDER/releases/$id" ]; then echo "$id"; fi
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

agent_runs() { [ -z "${P2P_NO_AGENT:-}" ] && p2p status >/dev/null 2>&1; }

# Of what is no longer among the last: the folder, what a fetch of it left, and the agent's hold on it.
remove_old() {
  for entry in "$FOLDER/releases"/* "$FOLDER/releases"/.[!.]*; do
    [ -e "$entry" ] || continue
    name=${entry##*/}
    name=${name#.}
    id=${name%%.*}
    if ! is_id "$id" || grep -qx "$id" "$FOLDER/history"; then continue; fi
    if agent_runs; then p2p unpin "$id" >/dev/null 2>&1 || true; fi
    rm -rf -- "$entry"
  done
}

# What the present version has already is not fetched again: an agent looks into its own store for that.
fetch() {
  set -- - -o "$FOLDER/releases/$ID" "$@"
  if agent_runs; then
    set -- "$@" --pin
  elif [ -e "$FOLDER/current" ]; then
    set -- "$@" --from "$(readlink -f "$FOLDER/current")"
  fi
  printf '%s\n' "$LINK" | p2p fetch "$@" || die "$?" "$(hostname): version $ID could not be fetched (see above); what was current still is. Run it again to go on where it stopped"
}

release() {
  was=$(current)
  if [ "$was" = "$ID" ]; then
    say "unchanged $ID"
    return
  fi
  if [ ! -e "$FOLDER/releases/$ID" ]; then fetch "$@"; fi
  {
    history_without "$ID"
    echo "$ID"
  } | tail -n "$KEEP" | write_history
  make_current "$ID"
  remove_old
  if [ -n "$THEN" ] && ! sh -c "$THEN" 9>&- </dev/null; then
    die 1 "$(hostname): $ID is current now, but this failed: $THEN"
  fi
  say "released $ID"
}

rollback() {
  was=$(current)
  if [ "$was" != "$ID" ]; then
    say "unchanged ${was:-(nothing is current)}"
    return
  fi
  before=$(history_without "$ID" | tail -n 1)
  [ -n "$before" ] || die 1 "$(hostname): there is no version before $ID in $FOLDER/releases"
  history_without "$ID" | write_history
  make_current "$before"
  if [ -n "$THEN" ] && ! sh -c "$THEN" 9>&- </dev/null; then
    die 1 "$(hostname): $before is current again, but this failed: $THEN"
  fi
  say "rolled back to $before"
}

status() {
  was=$(current)
  history_without "$was" | sed 's/^/before /'
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
  '' | *[!0-9]* | 0) usage "--keep takes a number from 1 on" ;;
esac

command -v p2p >/dev/null || die 1 "$(hostname): p2p is not installed"
case $command in
  release)
    mkdir -p -- "$FOLDER/releases"
    exec 9>"$FOLDER/.lock"
    flock -n 9 || die 7 "$(hostname): another release is under way in $FOLDER"
    release "$@"
    ;;
  rollback)
    [ -d "$FOLDER/releases" ] || die 1 "$(hostname): nothing was ever released to $FOLDER"
    exec 9>"$FOLDER/.lock"
    flock -n 9 || die 7 "$(hostname): another release is under way in $FOLDER"
    rollback
    ;;
  status) status ;;
  *) usage "'$command' is not known" ;;
esac
