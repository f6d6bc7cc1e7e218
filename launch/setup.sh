# shellcheck shell=bash
# The set-up of .venv. It is sourced after common.sh, not run:
#
#   set_up EXTRAS    makes ROOT/.venv and installs the package into it, editable, with the named
#                    extras (comma-separated, may be empty). Sets VENV_PYTHON.
#
# It is skipped when nothing that it depends on has changed: .venv/.jaxalign-EXTRAS holds a hash of
# pyproject.toml, the Python and the folder, written only after the install has succeeded. A .venv
# that is half made, or whose Python has gone, is made again. Two calls at once wait for each other.

is_supported() {
  "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

# Prints the first Python 3.11 or later: $PYTHON where set, and then no other.
find_python() {
  local candidate
  if [ -n "${PYTHON:-}" ]; then
    is_supported "$PYTHON" ||
      fail 2 "PYTHON=$PYTHON is not a Python 3.11 or later that runs: name one, or unset it"
    printf '%s\n' "$PYTHON"
    return
  fi
  for candidate in python3 python3.13 python3.12 python3.11 python3.14 python; do
    if is_supported "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  fail 2 "no Python 3.11 or later in PATH: install one, or name it with PYTHON=/path/to/python3"
}

# What an install depends on: every byte of pyproject.toml, the interpreter, the checkout's place.
fingerprint() {
  "$VENV_PYTHON" - "$ROOT" <<'EOP'
import hashlib, pathlib, sys
root = pathlib.Path(sys.argv[1])
digest = hashlib.sha256((root / "pyproject.toml").read_bytes())
digest.update(repr((sys.version, str(root))).encode())
print(digest.hexdigest())
EOP
}

has_stamp() { [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$(fingerprint)" ]; }

is_whole() {
  is_supported "$VENV_PYTHON" && "$VENV_PYTHON" -m pip --version >/dev/null 2>&1 &&
    [ ! -e "$VENV/.jaxalign-installing" ]
}

# A Python that the user has named wins over the one that .venv was made with.
is_wanted() {
  [ -z "${PYTHON:-}" ] ||
    [ "$(version_of "$PYTHON" 2>/dev/null)" = "$(version_of "$VENV_PYTHON" 2>/dev/null)" ]
}

make_venv() {
  local python message
  python=$(find_python)
  say "jaxalign: making $VENV with $("$python" --version 2>&1)"
  if ! message=$("$python" -m venv --clear "$VENV" 2>&1); then
    case $message in
      *ensurepip* | *"No module named"*)
        fail 2 "$python cannot make a virtual environment: install its venv package" \
          "(Debian, Ubuntu: apt-get install python3-venv) and run this again" ;;
      *) fail 1 "$python -m venv $VENV: $(printf '%s' "$message" | tail -n 1)" ;;
    esac
  fi
}

install_package() {
  local what=$ROOT${1:+[$1]}
  say "jaxalign: installing into $VENV (a few minutes the first time)"
  touch "$VENV/.jaxalign-installing"
  if ! "$VENV_PYTHON" -m pip install --quiet --no-compile --disable-pip-version-check -e "$what" >&2; then
    rm -f "$VENV/.jaxalign-installing" # pip fails before it changes anything; a kill may not
    fail 1 "pip could not install $what: its message stands above"
  fi
  fingerprint >"$STAMP"
  rm -f "$VENV/.jaxalign-installing"
}

set_up() {
  local python
  VENV=$ROOT/.venv
  VENV_PYTHON=$VENV/bin/python
  STAMP=$VENV/.jaxalign-${1:-base}
  if is_supported "$VENV_PYTHON" && has_stamp && is_wanted; then
    return
  fi
  if [ -n "${DRY_RUN:-}" ]; then
    if ! is_whole || ! is_wanted; then
      python=$(find_python)
      run "$python" -m venv --clear "$VENV"
    fi
    run "$VENV_PYTHON" -m pip install -e "$ROOT${1:+[$1]}"
    return
  fi
  exec 9<"$ROOT/launch/setup.sh" # held while .venv changes; any file that stays will do
  if command -v flock >/dev/null 2>&1; then
    flock 9
  fi
  if ! is_whole || ! is_wanted; then
    make_venv
  fi
  if ! has_stamp; then
    install_package "$1"
  fi
  exec 9<&-
}
