#!/usr/bin/env bash
# What the other scripts have done on a machine with an accelerator; it can be used there by hand.
#
#   ./launch/worker.sh install EXTRA            .venv with cuda or tpu; brings a Python if need be
#   ./launch/worker.sh mount WHAT               gs://BUCKET or SERVER:/SHARE, at /mnt/jaxalign
#   ./launch/worker.sh start TRAIN_FLAGS        the run under watch.sh, in the background
#   ./launch/worker.sh follow --workdir=DIR     prints what it says until it ends, with its status
#   ./launch/worker.sh stop --workdir=DIR       stops it after a checkpoint, and waits for that
#   ./launch/worker.sh is-running --workdir=DIR
#
# With --dry-run before the verb it prints what it would run. Each can be called again: what is
# installed, mounted or running stays as it is. Secrets come from the environment, or from
# launch/.secrets, which gpu_vm.sh and tpu_vm.sh bring from the environment there.
set -euo pipefail

ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
MOUNT=/mnt/jaxalign
# shellcheck source=launch/common.sh
. "$ROOT/launch/common.sh"
# shellcheck source=launch/setup.sh
. "$ROOT/launch/setup.sh"

install() {
  case ${1:-} in cuda | tpu) ;; *) fail 2 "worker.sh install ${1:-}: give cuda or tpu" ;; esac
  # TPU VM images have Python 3.10, which is too old; uv brings one without root.
  if [ -z "${PYTHON:-}" ] && ! (find_python >/dev/null 2>&1); then
    run python3 -m pip install --quiet --user uv
    run python3 -m uv python install --quiet 3.12
    [ -n "${DRY_RUN:-}" ] || PYTHON=$(python3 -m uv python find 3.12)
    PYTHON=${PYTHON:-python3.12}
  fi
  set_up "$1"
}

apt_install() {
  run sudo apt-get update --quiet
  run sudo apt-get install --quiet --yes "$1"
}

mount_share() {
  local list=/etc/apt/sources.list.d/gcsfuse.list key=/usr/share/keyrings/cloud.google.asc
  local source=https://packages.cloud.google.com/apt
  if mountpoint -q "$MOUNT"; then
    return
  fi
  run sudo mkdir -p "$MOUNT"
  run sudo chown "$(id -u):$(id -g)" "$MOUNT"
  case ${1:-} in
    gs://*)
      if ! command -v gcsfuse >/dev/null; then
        run sudo sh -c "curl -fsS $source/doc/apt-key.gpg >$key &&
          echo \"deb [signed-by=$key] $source gcsfuse-\$(lsb_release -cs) main\" >$list"
        apt_install gcsfuse
      fi
      # No caching of names: several hosts write the same folder.
      run gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 "${1#gs://}" "$MOUNT"
      ;;
    *:/*)
      command -v mount.nfs >/dev/null || apt_install nfs-common
      run sudo mount -t nfs -o hard "$1" "$MOUNT"
      run sudo chmod 1777 "$MOUNT"
      ;;
    *) fail 2 "worker.sh mount ${1:-}: give gs://BUCKET or SERVER:/SHARE" ;;
  esac
}

# One folder for each run of this checkout: log, pid, status, and a lock that is held while it runs.
find_state() {
  local workdir
  workdir=$(workdir_of "$@")
  STATE=$ROOT/runs/.launch/${workdir//\//_}
}

is_running() { [ -f "$STATE/lock" ] && ! flock --nonblock "$STATE/lock" true; }

start() {
  local command
  command=("$ROOT/launch/watch.sh" "$ROOT/.venv/bin/python" -m jaxalign.train "$@")
  find_state "$@"
  if [ -n "${DRY_RUN:-}" ]; then
    quoted "${command[@]}"
    return
  fi
  mkdir -p "$STATE"
  exec 8>"$STATE/lock" # held by all that is started below
  if ! flock --nonblock 8; then
    say "worker.sh: this run is going on already"
    return
  fi
  rm -f "$STATE/status"
  # shellcheck source=/dev/null
  [ ! -f "$ROOT/launch/.secrets" ] || . "$ROOT/launch/.secrets"
  # A session of its own, which outlives the connection.
  # shellcheck disable=SC2016
  STATE=$STATE setsid bash -c '
    "$@" &
    echo $! >"$STATE/pid"
    wait $!
    echo $? >"$STATE/status"
  ' worker "${command[@]}" >>"$STATE/log" 2>&1 </dev/null &
}

follow() {
  local reader
  find_state "$@"
  if [ -n "${DRY_RUN:-}" ]; then
    quoted tail --lines=100 --follow "$STATE/log"
    return
  fi
  [ -f "$STATE/lock" ] || fail 2 "no such run was started here"
  # A Ctrl-C does not reach what runs in the background: it ends with this script.
  tail --lines=100 --follow --pid=$$ "$STATE/log" 2>/dev/null &
  reader=$!
  flock "$STATE/lock" sleep 1 # waits for the end; then tail has a moment for the last lines
  kill "$reader"
  cat "$STATE/status" >/dev/null 2>&1 || exit 75 # killed
  exit "$(cat "$STATE/status")"
}

stop() {
  find_state "$@"
  if is_running; then
    run kill -s TERM "$(cat "$STATE/pid")"
    run flock "$STATE/lock" true
  fi
}

if first_flag "$@"; then shift; fi
verb=${1:-}
shift || true
case $verb in
  install) install "$@" ;;
  mount) mount_share "$@" ;;
  start) start "$@" ;;
  follow) follow "$@" ;;
  stop) stop "$@" ;;
  is-running) find_state "$@" && is_running ;;
  *) fail 2 "worker.sh ${verb:-}: no such verb; --help lists them" ;;
esac
