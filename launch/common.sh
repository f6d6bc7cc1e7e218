# shellcheck shell=bash
# What the scripts of this folder share. It is sourced, not run, and works with bash 3.2, which
# macOS has. With DRY_RUN set, `run` prints what it would run.

SECRETS="HF_TOKEN WANDB_API_KEY" # taken to other machines where they are set

say() { printf '%s\n' "$*" >&2; }

# fail STATUS MESSAGE: 2 says that the user can mend it, 1 anything else.
fail() {
  say "error: ${*:2}"
  exit "$1"
}

# The comment that a script opens with is its help.
print_help() { sed -n -e '1d' -e '/^#SBATCH/d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$1"; }

# quoted WORD…: on one line, as a shell would read it back.
quoted() {
  local word flag line="" single="'" escaped="'\\''"
  for word; do
    flag=""
    case $word in
      --*=*) flag=${word%%=*}= word=${word#*=} ;;
    esac
    case $word in
      *[!A-Za-z0-9_@%+=:,./-]*) word="'${word//$single/$escaped}'" ;;
      "") word="''" ;;
    esac
    line+="${line:+ }$flag$word"
  done
  printf '%s\n' "$line"
}

run() {
  if [ -n "${DRY_RUN:-}" ]; then
    quoted "$@"
  else
    "$@"
  fi
}

# become COMMAND: the last thing that a script does.
become() {
  [ -z "${DRY_RUN:-}" ] || { quoted "$@" && exit; }
  exec "$@"
}

# first_flag FLAG: --help and --dry-run, where all other flags go to somebody else. True if it was
# one that the caller has to shift away.
first_flag() {
  case ${1:-} in
    --help) print_help "$0" && exit ;;
    --dry-run) DRY_RUN=1 ;;
    *) return 1 ;;
  esac
}

# value_of NAME ARGUMENT…: what --NAME=VALUE or --NAME VALUE says; the last one counts.
value_of() {
  local name=$1 value="" previous="" argument
  shift
  for argument; do
    case $argument in
      "--$name="*) value=${argument#*=} ;;
      *) [ "$previous" != "--$name" ] || value=$argument ;;
    esac
    previous=$argument
  done
  printf '%s\n' "$value"
}

# workdir_of ARGUMENT…: the run's folder; without one nobody could tell whether it is done. A leading
# ~ stays, since the run may be on another machine: `at_home` is what a run makes of it.
workdir_of() {
  local workdir
  workdir=$(value_of workdir "$@")
  [ -n "$workdir" ] || fail 2 "no --workdir=DIR among the flags: name the run's folder"
  printf '%s\n' "$workdir"
}

at_home() { printf '%s\n' "${1/#"~/"/$HOME/}"; }

# is_done WORKDIR: its summary.json tells of as many generations as its config.json asks for, or of
# an early end by the limits that its config.json has. That the file is there would not do: a run
# that is being lengthened has the old one.
is_done() {
  local python=python3
  [ ! -x "$ROOT/.venv/bin/python" ] || python=$ROOT/.venv/bin/python
  "$python" - "$(at_home "$1")" 2>/dev/null <<'EOP'
import json, pathlib, sys
summary, record = (
    json.loads((pathlib.Path(sys.argv[1]) / name).read_text(encoding="utf-8"))
    for name in ("summary.json", "config.json")
)
search, early = record["config"]["search"], summary.get("early_end")
ended = early and all(early[key] == search[key] for key in ("stop_loss", "patience"))
sys.exit(not ended and summary["generations"] < search["generations"])
EOP
}

# generations_in WORKDIR: how many metrics.jsonl tells of.
generations_in() {
  local metrics
  metrics=$(at_home "$1")/metrics.jsonl
  if [ -f "$metrics" ]; then
    wc -l <"$metrics"
  else
    echo 0
  fi
}

# await PID: waits for a child whatever signals arrive, and gives its status. A trap that returns
# has to set SIGNALLED, since it cuts `wait` short.
await() {
  local status=0 last=127
  while :; do
    SIGNALLED=""
    wait "$1" && status=0 || status=$?
    [ "$status" = 127 ] && status=$last # it had been waited for before the signal
    last=$status
    [ -n "$SIGNALLED" ] || return "$status"
  done
}

# pack FILE: this checkout without what is made in it, and the secrets, readable by its owner alone.
pack() {
  local folder name
  folder=$(mktemp -d)
  mkdir "$folder/launch"
  (
    umask 077
    for name in $SECRETS; do
      [ -z "${!name:-}" ] || printf 'export %s=%q\n' "$name" "${!name}"
    done >"$folder/launch/.secrets"
    tar -czf "$1" -C "$ROOT" --exclude=./.git --exclude=./.venv --exclude=./runs \
      --exclude='./.*_cache' --exclude=./.hypothesis --exclude=__pycache__ . \
      -C "$folder" ./launch/.secrets
  )
  rm -rf "$folder"
}
