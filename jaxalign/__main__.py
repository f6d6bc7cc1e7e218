"""List the commands."""

import ast
import importlib.util
import sys
from pathlib import Path

COMMANDS = ("train", "evaluate", "export", "status", "compare", "benchmark", "make_embedded")


def main(typed: list[str]) -> int:
    """Print each command with what it does; return the exit status."""
    for name in COMMANDS:
        print(f"  python -m jaxalign.{name:<14} {_purpose(name)}")
    print("\nWith --help each tells its flags; the Python API is `import jaxalign`.")
    if typed and typed[0].lstrip("-") not in ("help", "h"):
        meant = f"python -m jaxalign.{typed[0]}" if typed[0] in COMMANDS else "one of these"
        print(f"error: {typed[0]} is no argument of this; give {meant}", file=sys.stderr)
        return 2
    return 0


def _purpose(name: str) -> str:
    """Return the first line of a command's text without loading it, which takes a second."""
    spec = importlib.util.find_spec(f"jaxalign.{name}")
    assert spec and spec.origin
    file = Path(spec.origin)
    doorway = file.with_name("__main__.py") if file.name == "__init__.py" else file
    text = ast.get_docstring(ast.parse(doorway.read_text(encoding="utf-8")))
    return text.partition("\n")[0] if text else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
