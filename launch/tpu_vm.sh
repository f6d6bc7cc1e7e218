#!/usr/bin/env bash
# A run on a Cloud TPU VM or a slice of several hosts, through gcloud, from your own machine.
#
#   ./launch/tpu_vm.sh --name=NAME --zone=ZONE [flags] -- TRAIN_FLAGS
#   ./launch/tpu_vm.sh --name=sa --zone=us-east5-b --type=v6e-8 --spot --mount=gs://my-runs \
#       --delete -- --config=sa.py --workdir=/mnt/jaxalign/sa
#   ./launch/tpu_vm.sh --name=sa --zone=us-east5-b --delete
#
#   --type=v6e-8        accelerator type of a new machine; of v2 to v6e, which this API has
#   --version=NAME      its software (default: what Google names for that type)
#   --spot              cheaper, and may be taken away at any time
#   --mount=WHAT        gs://BUCKET (made with a hierarchical namespace) or SERVER:/SHARE (NFS, such
#                       as Filestore), at /mnt/jaxalign on all hosts; several hosts need it, and so
#                       does a run that is to outlive a spot machine
#   --stop              stop the run after a checkpoint instead; the machine stays
#   --delete            delete the machine once the run is done; without -- … now
#   --dry-run           print what would be run
#
# A machine of that name is used as it is; one that was preempted is made anew. The run goes on in
# the background on every host: Ctrl-C ends this script and not the run, and the same call shows
# it again. The status is that of watch.sh; 75 also says that the machine was taken away, so
# `./launch/watch.sh --remote ./launch/tpu_vm.sh …` sees a spot run through. The project is gcloud's
# (CLOUDSDK_CORE_PROJECT). HF_TOKEN and WANDB_API_KEY are taken from the environment. For several
# hosts run `ssh-add ~/.ssh/google_compute_engine` first.
set -euo pipefail

ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/common.sh
. "$ROOT/launch/common.sh"

name="" zone="" type=v6e-8 version="" spot="" share="" verb=start delete="" DRY_RUN=${DRY_RUN:-}
while [ $# -gt 0 ]; do
  case $1 in
    --help) print_help "$0" && exit ;;
    --dry-run) DRY_RUN=1 ;;
    --name=*) name=${1#*=} ;;
    --zone=*) zone=${1#*=} ;;
    --type=*) type=${1#*=} ;;
    --version=*) version=${1#*=} ;;
    --mount=*) share=${1#*=} ;;
    --spot) spot=1 ;;
    --stop) verb=stop ;;
    --delete) delete=1 ;;
    --) shift && break ;;
    *) fail 2 "$1: not a flag of tpu_vm.sh; those of the run stand after --" ;;
  esac
  shift
done
[ -n "$name" ] && [ -n "$zone" ] || fail 2 "give --name=NAME and --zone=ZONE"
[ -n "$DRY_RUN" ] || command -v gcloud >/dev/null || fail 2 "gcloud is not in PATH: install it"
[ $# -gt 0 ] || { [ -n "$delete" ] && [ "$verb" = start ]; } || fail 2 "give the flags of the run after --"
[ $# = 0 ] || workdir=--workdir=$(workdir_of "$@")

tpu() { run gcloud compute tpus tpu-vm "$1" "$name" --zone="$zone" "${@:2}"; }
everywhere() { tpu ssh --worker=all --command="$1" || lost $?; }
work() { printf 'cd jaxalign && ./launch/worker.sh %s' "$(quoted "$@")"; }

# lost STATUS: a step before the run failed. A machine may well be taken away then, too.
lost() {
  [ "$1" != 2 ] || exit 2
  say "tpu_vm.sh: $name cannot be reached or a step failed there; the same call goes on"
  exit 75
}

# Sets `state`, empty where there is no such machine, and `hosts`.
describe() {
  local answer errors
  errors=$(mktemp)
  if [ -n "$DRY_RUN" ]; then
    tpu describe --format='value(state,networkEndpoints.len())'
    state="" hosts=1
  elif answer=$(tpu describe --format='value(state,networkEndpoints.len())' 2>"$errors"); then
    read -r state hosts <<<"$answer"
  elif grep -q NOT_FOUND "$errors"; then
    state="" hosts=0
  else
    cat "$errors" >&2
    rm -f "$errors"
    exit 1
  fi
  rm -f "$errors"
}

# https://cloud.google.com/tpu/docs/runtimes
software() {
  case $type in
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v[234]-*) echo tpu-ubuntu2204-base ;;
    *) fail 2 "--type=$type: give --version too, or a type such as v6e-8 or v5litepod-16" ;;
  esac
}

create() {
  say "tpu_vm.sh: making $name ($type); it costs until --delete"
  tpu create --accelerator-type="$type" --version="$version" ${spot:+--spot} || exit 75
  fresh=1
}

require_machine() {
  fresh=""
  case $state in
    READY) ;;
    "") create ;;
    PREEMPTED | TERMINATED) tpu delete --quiet && create ;;
    STOPPED) tpu start ;;
    *)
      say "tpu_vm.sh: $name is $state; call again in a minute"
      exit 75
      ;;
  esac
  [ "$state" = READY ] || [ -n "$DRY_RUN" ] || describe
  [ -z "$DRY_RUN" ] ||
    say "tpu_vm.sh: if $name has several hosts, --mount is needed and --distributed is added below"
  [ "$hosts" -le 1 ] || [ -n "$share" ] ||
    fail 2 "$name has $hosts hosts, which need a common folder: give --mount=…"
}

upload() {
  local archive=ARCHIVE failed=0
  if [ -z "$DRY_RUN" ]; then
    archive=$(mktemp)
    pack "$archive"
  fi
  run gcloud compute tpus tpu-vm scp "$archive" "$name:jaxalign.tgz" --zone="$zone" --worker=all ||
    failed=$?
  [ -n "$DRY_RUN" ] || rm -f "$archive" # it may hold secrets
  [ "$failed" = 0 ] || lost "$failed"
}

if [ "$verb" = stop ]; then
  everywhere "$(work stop "$workdir")"
  exit
fi
describe
if [ $# = 0 ]; then
  [ -n "$state$DRY_RUN" ] || { say "tpu_vm.sh: there is no $name" && exit; }
  tpu delete --quiet
  exit
fi
[ -n "$version" ] || version=$(software)
require_machine
running() { tpu ssh --worker=0 --command="$(work is-running "$workdir")" 2>/dev/null; }
if [ -n "$fresh" ] || ! running; then
  upload
  everywhere "mkdir -p jaxalign && tar -xzf jaxalign.tgz -C jaxalign && rm jaxalign.tgz"
  everywhere "$(work install tpu)"
  [ -z "$share" ] || everywhere "$(work mount "$share")"
fi
if [ "$hosts" -gt 1 ]; then
  set -- --distributed "$@"
fi
everywhere "$(work start "$@")" # hosts where it is going on already leave it
status=0
tpu ssh --worker=0 --command="$(work follow "$workdir")" || status=$?
case $status in
  0) [ -z "$delete" ] || tpu delete --quiet ;;
  2) ;;
  *)
    describe
    if [ "$state" != READY ] || [ "$status" = 255 ]; then
      say "tpu_vm.sh: $name was taken away or cannot be reached; the same call goes on"
      status=75
    fi
    ;;
esac
exit "$status"
