#!/usr/bin/env bash
# Every check that CI runs: format, lint, shell scripts, import contract, types, tests.
#
#   ./launch/test.sh [--dry-run] [pytest args]
#   ./launch/test.sh -m 'not slow' -x tests/unit/report
#
# Makes or renews .venv first, as local.sh does, with the test extra. PYTHON names another Python.
# --dry-run, as the first flag, prints what would be run.
set -euo pipefail

ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

# shellcheck source=launch/common.sh
. launch/common.sh
# shellcheck source=launch/setup.sh
. launch/setup.sh
if first_flag "$@"; then shift; fi
set_up test

check() {
  [ -n "${DRY_RUN:-}" ] || printf '== %s\n' "$*"
  run "$VENV/bin/$1" "${@:2}"
}

check ruff format --check
check ruff check
check shellcheck --external-sources launch/*.sh launch/slurm.sbatch .ci/run
check hadolint launch/Dockerfile.cuda launch/Dockerfile.tpu
# SkyPilot wants an older click than huggingface_hub, so it has a place of its own.
if [ ! -x "$VENV/skypilot/bin/sky" ]; then
  run "$VENV_PYTHON" -m venv --clear "$VENV/skypilot"
  run "$VENV/skypilot/bin/pip" install --quiet --disable-pip-version-check skypilot==0.14.1
fi
check ../skypilot/bin/python tests/support/check_skypilot.py launch/skypilot.yaml
check lint-imports --no-logo
check mypy
# Two workers: a test keeps about one core busy, and a worker may take 5 GB.
check pytest --numprocesses=2 --dist=loadfile "$@"
