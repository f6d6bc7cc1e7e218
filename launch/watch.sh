#!/usr/bin/env bash
# Runs a command again until its run is done: for machines that are taken away, and for crashes.
#
#   ./launch/watch.sh [--tries=N] [--dry-run] COMMAND … --workdir=DIR
#   ./launch/watch.sh python -m jaxalign.train --config=sa.py --workdir=/data/sa
#   ./launch/watch.sh --remote ./launch/tpu_vm.sh --name=… -- --config=sa.py --workdir=…
#
# It ends with
#   0    done: the command ended well, and the run's summary.json tells of all its generations
#   1    given up: N tries one after another (default 10) brought no new generation
#   2    the user's mistake, which the run has told
#   75   stopped by SIGTERM or SIGINT, which is passed on to the run; the same call goes on
#
# It waits 10 seconds (JAXALIGN_PAUSE) before the next try, then twice as long each time, up to 5
# minutes; a new generation sets that back. With --remote the command itself tells by 75 that it is
# to be called again, and a try of 10 minutes counts as a generation.
set -euo pipefail

ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/common.sh
. "$ROOT/launch/common.sh"

tries=10 remote="" first=${JAXALIGN_PAUSE:-10}
while :; do
  case ${1:-} in
    --help) print_help "$0" && exit ;;
    --dry-run) DRY_RUN=1 ;;
    --remote) remote=1 ;;
    --tries=*) tries=${1#*=} ;;
    -*) fail 2 "$1: no such flag; --help lists them" ;;
    *) break ;;
  esac
  shift
done
[ $# -gt 0 ] || fail 2 "no command to run; --help shows examples"
[[ $tries =~ ^[1-9][0-9]*$ ]] || fail 2 "--tries=$tries: give a whole number of at least 1"
command -v "$1" >/dev/null || fail 2 "$1: no such command"
[ -n "$remote" ] || workdir=$(workdir_of "$@")
[ -z "${DRY_RUN:-}" ] || { quoted "$@" && exit; }

stopped="" passed="" child=""
stop() {
  SIGNALLED=1
  # `timeout` sends SIGTERM twice, and a run takes the second one as "at once". A second Ctrl-C is
  # meant that way.
  [ "$1" = INT ] || [ -z "$stopped" ] || return 0
  stopped=$1
  [ -z "$child" ] || pass_on
}
pass_on() {
  passed=1
  kill -s "$stopped" "$child" 2>/dev/null || true
}
trap 'stop TERM' TERM
trap 'stop INT' INT
# Each child gets a process group of its own: a Ctrl-C then reaches it once, through us, and not
# twice, which would stop it without a checkpoint.
set -m

in_background() {
  "$@" &
  child=$!
  [ -z "$stopped" ] || [ -n "$passed" ] || pass_on # it came while there was no child
  await "$child" && status=0 || status=$?
  child=""
}

progress() { if [ -n "$remote" ]; then echo $((SECONDS / 600)); else generations_in "$workdir"; fi; }
done_now() { [ "$status" = 0 ] && { [ -n "$remote" ] || is_done "$workdir"; }; }

failed=0 pause=$first
while :; do
  SECONDS=0
  before=$(progress)
  in_background "$@"
  ended=$status
  if done_now; then exit 0; fi
  [ "$ended" != 2 ] || exit 2
  [ -z "$stopped" ] || exit 75
  if [ -n "$remote" ] && [ "$ended" != 75 ]; then exit "$ended"; fi
  if [ "$(progress)" -gt "$before" ]; then
    failed=0 pause=$first
  fi
  failed=$((failed + 1))
  [ "$failed" -lt "$tries" ] || fail 1 "given up: $tries tries one after another got nowhere"
  say "watch.sh: ended with $ended and is not done; again in $pause s"
  in_background sleep "$pause"
  [ -z "$stopped" ] || exit 75
  status=$ended # of several hosts only the first writes summary.json, and it may be late
  if done_now; then exit 0; fi
  pause=$((pause * 2 < 300 ? pause * 2 : 300))
done
