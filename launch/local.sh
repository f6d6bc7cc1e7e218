#!/usr/bin/env bash
# Tunes a soft prompt for Saudi Arabia on the embedded model: one command on a bare machine.
#
#   ./launch/local.sh [--dry-run] [flags]
#   ./launch/local.sh --workdir=runs/first --config.search.generations=20
#
# Needs Python 3.11 or later with pip. The first call makes .venv beside this folder and installs
# the package; later calls skip that while nothing has changed. Flags go to python -m
# jaxalign.train, which runs in your current folder, so that its paths are yours; its --helpfull
# lists them. --dry-run, as the first flag, prints what would be run.
#
#   PYTHON            the Python to make .venv with (default: the first that suits in PATH)
#   JAXALIGN_EXTRAS   extras to install, comma-separated: cuda, tpu, test (default: none)
#
#   JAXALIGN_EXTRAS=cuda ./launch/local.sh      on a machine with an NVIDIA GPU
set -euo pipefail

script=${BASH_SOURCE[0]}
while [ -L "$script" ]; do # as readlink -f, which older systems lack
  folder=$(cd -P "$(dirname "$script")" && pwd)
  script=$(readlink "$script")
  [[ $script == /* ]] || script=$folder/$script
done
ROOT=$(cd -P "$(dirname "$script")/.." && pwd)

# shellcheck source=launch/common.sh
. "$ROOT/launch/common.sh"
# shellcheck source=launch/setup.sh
. "$ROOT/launch/setup.sh"
if first_flag "$@"; then shift; fi
set_up "${JAXALIGN_EXTRAS:-}"

if [ -z "${JAXALIGN_EXTRAS:-}" ] && nvidia-smi -L >/dev/null 2>&1; then
  say "jaxalign: this machine has an NVIDIA GPU; JAXALIGN_EXTRAS=cuda $0 uses it"
fi
[ -n "${JAXALIGN_EXTRAS:-}" ] || export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu} # as installed
become "$VENV_PYTHON" -m jaxalign.train --config=sa.py:embedded "$@"
