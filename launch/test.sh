#!/usr/bin/env bash
# Every check that CI runs: format, lint, shell scripts, import contract, types, tests.
#
#   ./launch/test.sh [pytest args]
#   ./launch/test.sh -m 'not slow' -x tests/report
#
# Makes or renews .venv first, as local.sh does, with the test extra. PYTHON names another Python.
set -euo pipefail

ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

# shellcheck source=launch/setup.sh
. launch/setup.sh
set_up test

check() {
  printf '== %s\n' "$*"
  "$VENV/bin/$1" "${@:2}"
}

check ruff format --check
check ruff check
check shellcheck --external-sources launch/local.sh launch/test.sh .ci/run
check lint-imports --no-logo
check mypy
# Two workers: a test keeps about one core busy, and a worker may take 5 GB.
check pytest --numprocesses=2 --dist=loadfile "$@"
