#!/usr/bin/env bash
# Every check that CI runs: format, lint, shell scripts, import contract, types, docs, tests.
#
#   ./launch/test.sh [--dry-run] [--nightly] [pytest args]
#   ./launch/test.sh tests/unit              one tier
#   ./launch/test.sh -x tests/unit/report    one room, up to the first failure
#
# Makes or renews .venv first, as local.sh does, with the extras test and docs. Without a path it
# runs tests/unit and tests/process; with --nightly also tests/nightly and the SkyPilot check, which
# take about an hour. PYTHON names another Python. --dry-run, as the first flag, prints the commands.
set -euo pipefail

ROOT=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"

# shellcheck source=launch/common.sh
. launch/common.sh
# shellcheck source=launch/setup.sh
. launch/setup.sh
if first_flag "$@"; then shift; fi
nightly=""
if [ "${1:-}" = --nightly ]; then
  nightly=1
  shift
fi
set_up test,docs

check() {
  [ -n "${DRY_RUN:-}" ] || printf '== %s\n' "$*"
  run "$VENV/bin/$1" "${@:2}"
}

check ruff format --check
check ruff check
check shellcheck --external-sources launch/*.sh launch/slurm.sbatch .ci/run
check hadolint launch/Dockerfile.cuda launch/Dockerfile.tpu
check lint-imports --no-logo
check mypy
check mkdocs build --strict --site-dir "$VENV/site"
if [ -n "$nightly" ]; then
  # SkyPilot wants an older click than huggingface_hub, so it has an environment of its own.
  if [ ! -x "$VENV/skypilot/bin/sky" ]; then
    run "$VENV_PYTHON" -m venv --clear "$VENV/skypilot"
    run "$VENV/skypilot/bin/pip" install --quiet --disable-pip-version-check skypilot==0.14.1
  fi
  check ../skypilot/bin/python tests/support/check_skypilot.py launch/skypilot.yaml
  export JAXALIGN_NIGHTLY=1 # all cases of every parametrised test
  # XLA's compilers for chips that are not there, which JAX would look for in every other test.
  if [ ! -x "$VENV/compilers/bin/pytest" ]; then
    run "$VENV_PYTHON" -m venv --clear "$VENV/compilers"
    run "$VENV/compilers/bin/pip" install --quiet -e "${ROOT}[test,compile-tpu,compile-gpu]"
  fi
  JAX_PLATFORMS=cpu check ../compilers/bin/pytest tests/nightly/test_compiled_for_chips.py
  set -- tests "$@"
fi
# Two workers: a test keeps about one core busy.
check pytest --numprocesses=2 --dist=loadfile "$@"
