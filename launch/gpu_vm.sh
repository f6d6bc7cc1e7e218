#!/usr/bin/env bash
# A run on one machine with one or more NVIDIA GPUs: this one, or one that ssh reaches.
#
#   ./launch/gpu_vm.sh [flags] -- TRAIN_FLAGS
#   ./launch/gpu_vm.sh -- --config=sa.py --workdir=/data/sa
#   ./launch/gpu_vm.sh --host=ubuntu@203.0.113.7 -- --config=sa.py --workdir=/data/sa
#
#   --host=USER@MACHINE   bring this checkout to ~/jaxalign there and run it there
#   --gpus=0,1            use these only (default: all)
#   --stop                stop the run after a checkpoint instead
#   --dry-run             print what would be run
#
# The run goes on in the background under watch.sh: Ctrl-C or a lost connection ends this script
# and not the run, and the same call shows it again. The status is that of watch.sh. HF_TOKEN and
# WANDB_API_KEY are taken from the environment.
set -euo pipefail

ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=launch/common.sh
. "$ROOT/launch/common.sh"

host="" gpus="" verb=start
while :; do
  case ${1:-} in
    --help) print_help "$0" && exit ;;
    --dry-run) DRY_RUN=1 ;;
    --host=*) host=${1#*=} ;;
    --gpus=*) gpus=${1#*=} ;;
    --stop) verb=stop ;;
    --) shift && break ;;
    *) fail 2 "${1:-nothing}: not a flag of gpu_vm.sh; those of the run stand after --" ;;
  esac
  shift
done
workdir=--workdir=$(workdir_of "$@")

# there WORD…: runs a command of the checkout on the machine.
there() {
  if [ -z "$host" ]; then
    run "$@"
  else
    run ssh "$host" "cd jaxalign && $(quoted "$@")"
  fi
}

upload() {
  local archive failed=0
  if [ -n "${DRY_RUN:-}" ]; then
    printf 'tar -cz %s | ssh %s %s\n' "$ROOT" "$host" "'mkdir -p jaxalign && tar -xzC jaxalign'"
    return
  fi
  archive=$(mktemp)
  pack "$archive"
  ssh "$host" 'mkdir -p jaxalign && tar -xzC jaxalign' <"$archive" || failed=$?
  rm -f "$archive" # it may hold secrets
  [ "$failed" = 0 ] || fail 1 "$host: cannot bring the checkout there (status $failed)"
}

if [ -n "$host" ]; then worker=launch/worker.sh; else worker=$ROOT/launch/worker.sh; fi
if [ "$verb" = stop ]; then
  there "$worker" stop "$workdir"
  exit
fi
if [ -n "$host" ]; then
  if [ -n "${DRY_RUN:-}" ] || ! there "$worker" is-running "$workdir" 2>/dev/null; then
    upload
  fi
fi
there nvidia-smi --list-gpus || {
  [ $? != 255 ] || [ -z "$host" ] || fail 1 "$host: ssh cannot reach it"
  fail 2 "no NVIDIA driver answers there: nvidia-smi has to work"
}
there "$worker" install cuda
# shellcheck disable=SC2086
there ${gpus:+env CUDA_VISIBLE_DEVICES=$gpus} "$worker" start "$@"
there "$worker" follow "$workdir"
