#!/usr/bin/env bash
# The shortest way to see p2p work: seed a real file, fetch it three times at once, compare.
# Run by `./dev demo [MIB]`, which builds the binary first.
#   demo.sh P2P-BINARY [MIB]
set -euo pipefail

readonly FETCHERS=3
readonly DEFAULT_MIB=512
readonly LINK_TIMEOUT_S=60

bold='' plain=''
if [[ -t 1 ]]; then bold=$'\033[1m' plain=$'\033[0m'; fi
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
note() { printf '  %s\n' "$*"; }
die() {
  printf 'demo: %s\n' "$*" >&2
  exit 1
}

[[ $# -ge 1 && -x $1 ]] || die 'the binary is missing; run ./dev demo, which builds it'
p2p=$(realpath "$1")
work=$(mktemp -d "${TMPDIR:-/tmp}/p2p-demo.XXXXXX")
processes=()
done_after=()

# However the demo ends, nothing of it stays: only processes it started, only its own folder.
clean_up() {
  local status=$? process
  trap - EXIT INT TERM HUP
  for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
  for process in "${processes[@]}"; do wait "$process" 2>/dev/null || true; done
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Join secrets that `seed` keeps for the next time go with the folder too.
export XDG_STATE_HOME=$work/state

# The file, its copies, and a margin must fit on the disk.
size_mib() {
  local free_mib wanted=$1 possible
  free_mib=$(($(df -Pk "$work" | awk 'NR == 2 {print $4}') / 1024))
  possible=$((free_mib / (2 * (FETCHERS + 1))))
  ((possible >= 4)) || die "only $free_mib MiB are free in $work; set TMPDIR to a folder with more"
  echo $((wanted < possible ? wanted : possible))
}

now() { echo "$EPOCHREALTIME"; }

# since START: seconds, with two decimals.
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN {printf "%.2f", b - a}'; }

mib_per_second() { awk -v m="$1" -v s="$2" 'BEGIN {printf "%.0f", m / s}'; }

make_file() {
  head -c "$((mib * 1048576))" /dev/urandom >"$work/here/photos.tar"
}

# Leaves the link in $link. The pipe stays open on descriptor 3, so that seed may go on writing.
start_seed() {
  mkfifo "$work/link"
  "$p2p" seed "$work/here/photos.tar" --listen 127.0.0.1:0 >"$work/link" 2>"$work/seed.log" &
  processes+=($!)
  seeder=$!
  exec 3<"$work/link"
  if ! read -r -t "$LINK_TIMEOUT_S" link <&3; then
    cat "$work/seed.log" >&2
    die 'p2p seed printed no link'
  fi
}

fetch() {
  exec "$p2p" fetch "$link" -o "$work/there$1/photos.tar"
}

fail_with_log() {
  cat "$work/there$1.log" >&2 2>/dev/null || true
  die "fetch $1 failed with exit code $2"
}

fetch_all() {
  local number finished status number_of=()
  started=$(now)
  for ((number = 1; number <= FETCHERS; number++)); do
    # The first has the terminal, and shows its progress there.
    if ((number == 1)); then fetch 1 & else fetch "$number" >"$work/there$number.log" 2>&1 & fi
    number_of[$!]=$number
    processes+=($!)
  done
  for ((number = 1; number <= FETCHERS; number++)); do
    status=0
    wait -n -p finished "${!number_of[@]}" || status=$?
    ((status == 0)) || fail_with_log "${number_of[finished]}" "$status"
    seconds=$(since "$started") # in the end: of the last
    done_after[number_of[finished]]=$seconds
    unset 'number_of[finished]'
  done
  for ((number = 1; number <= FETCHERS; number++)); do
    note "fetch $number was complete after ${done_after[number]} s"
  done
}

# What the seeder wrote, nearly all of it to sockets, in copies of the file.
copies_sent() {
  awk -v bytes="$((mib * 1048576))" '$1 == "wchar:" {printf "%.1f", $2 / bytes}' "/proc/$seeder/io"
}

# In percent: what the second fetch carried, of what it did in its best half second.
share_of_limit() { sed -n 's/.*; that is \([0-9]*\) % of what this link carried.*/\1/p' "$work/there2.log"; }

compare() {
  local number
  for ((number = 1; number <= FETCHERS; number++)); do
    cmp "$work/here/photos.tar" "$work/there$number/photos.tar" || die "copy $number differs"
  done
}

mkdir "$work/here"
for ((number = 1; number <= FETCHERS; number++)); do mkdir "$work/there$number"; done
mib=$(size_mib "${2:-$DEFAULT_MIB}")

say "1. A file of $mib MiB of random bytes"
make_file
note "$work/here/photos.tar"

say '2. One command shares it'
note '$ p2p seed photos.tar'
began=$(now)
start_seed
note "$link"
note "hashed and serving after $(since "$began") s. The line above is all that others need:"
note 'what to fetch, where to ask, and after the # the secret that lets them in.'

say "3. $FETCHERS fetch it at once, on this machine, and pass on to each other what they have"
note "\$ p2p fetch 'p2p://...' -o photos.tar"
fetch_all

say '4. Are the copies the same?'
compare
note "all $FETCHERS are, byte for byte: $((FETCHERS * mib)) MiB delivered in $seconds s," \
  "$(mib_per_second "$((FETCHERS * mib))" "$seconds") MiB/s together."
note "The seeder sent $(copies_sent) copies of it; what else they needed, they had from each other."
note "The second fetch kept $(share_of_limit) % of the limit, the most that its link carried in half a second."
note 'Every byte was encrypted on its way, checked against its hash, and synced to disk.'

shown=${p2p/#"$PWD/"/}
cat <<END

What to try next
  a folder         $shown seed /usr/share/doc
  another machine  copy $shown there, then: p2p fetch 'LINK' -o PATH
  a tracker        $shown tracker --listen 0.0.0.0:7000
                   $shown seed PATH --tracker THIS-HOST:7000
  everything else  $shown --help
END
