"""What every command shares: finding configs, reading flags, printing mistakes."""

import contextlib
import errno
import functools
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import absl.logging
from absl import app, flags
from ml_collections import config_flags

import jaxalign
from jaxalign.config import RENAMED
from jaxalign.errors import INTERRUPTS, UserError

USER_ERROR = 2
# What a disk or a closed pipe refuses is the user's to mend.
_OF_A_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EPIPE)
_HELP = ("help", "helpshort", "helpfull")
_COMPILE_CACHE = flags.DEFINE_string(
    "compile_cache",
    None,
    "Folder where compiled programs are kept for later runs; empty to compile each time. Left out, "
    "it is that of JAX_COMPILATION_CACHE_DIR, or jaxalign/xla in the user's cache.",
)


def config_folder() -> Path:
    """configs/ as installed in the package, or at the top of a checkout."""
    package = Path(jaxalign.__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def find_config(name: str) -> str:
    """Return the path of `NAME[:VARIANT]`, from the current folder or configs/, with its variant.

    Raises:
      UserError: there is no such file; the message lists the packaged ones.
    """
    path, colon, variant = name.partition(":")
    for candidate in (Path(path), config_folder() / path):
        if candidate.is_file():
            return f"{candidate.resolve()}{colon}{variant}"
    known = ", ".join(sorted(file.name for file in config_folder().glob("*.py")))
    raise UserError(f"--config={name}: no such file here or in the package, which has {known}")


def without_flag(arguments: Sequence[str], name: str) -> list[str]:
    """Return the arguments without `--name=value`, `--name value` and their forms with one dash."""
    left, skip = [], False
    for argument in arguments:
        bare = argument.lstrip("-")
        if not skip and not (argument.startswith("-") and bare.partition("=")[0] == name):
            left.append(argument)
        skip = argument.startswith("-") and bare == name
    return left


@functools.cache  # so that one process may import several commands
def define_config() -> flags.FlagHolder:
    """Define --config; the flag's value is a locked, type-checked ConfigDict."""
    return config_flags.DEFINE_config_file("config", None, "NAME[:VARIANT] of a config file.")


@functools.cache
def define_show_prompt() -> flags.FlagHolder:
    """Define --show_prompt, whose work is `run.show_prompt`'s."""
    return flags.DEFINE_bool(
        "show_prompt", False, "Print the first question as the model sees it, and end."
    )


def run(main: Callable[[list[str]], None], needs_config: bool = True, positional: str = "") -> None:
    """Parse the flags and run `main` on the arguments as they were typed; ends the process.

    Before `main` the compilation cache is set up, as --compile_cache says.

    A `UserError` and every fault in flags or config become one line on standard error and exit
    code 2.

    Args:
      main: the command.
      needs_config: whether --config may not be left out; only where there is such a flag.
      positional: what the positional arguments are, for a command that works on these; `main` then
        gets them alone.
    """
    typed = sys.argv[1:]
    for stream in (sys.stdout, sys.stderr):  # what a terminal cannot show must not end a run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    _log_plainly()

    def start(left: list[str]) -> None:
        if positional:
            return main(left[1:])
        # JAX takes a second, `status` does without.
        from jaxalign.devices import compile_cache, platform

        compile_cache.use(_COMPILE_CACHE.value)
        platform.check_platform()
        return main(typed)

    INTERRUPTS.cleans_up = True
    try:
        app.run(start, flags_parser=functools.partial(_parse, needs_config, positional))
    except SystemExit as end:
        # absl ends --help with 1; asking is no mistake.
        helped = end.code == 1 and any(argument.lstrip("-") in _HELP for argument in typed)
        sys.exit(0 if helped else end.code)
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        INTERRUPTS.end()
    except Warning as error:
        _fail(_WARNED.format(error))
    except Exception as error:
        from jaxalign.devices.memory import is_out_of_memory

        if told := _told_before(error):
            _fail(told)
        if isinstance(error, OSError) and error.errno in _OF_A_DISK:
            _fail(_describe(error))
        if not is_out_of_memory(error):
            _end_peers(1)
            raise  # a fault of ours, shown in full
        _fail(
            "out of memory: give a smaller --config.evaluation.chunk, search.population or "
            f"prompt.length, or another search.strategy ({error})"
        )


def _log_plainly() -> None:
    """Give every warning one form, `warning: …`, and show nothing of less weight."""

    class Plain(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return f"{record.levelname.lower()}: {' '.join(record.getMessage().split())}"

    absl.logging.get_absl_handler().python_handler.setFormatter(Plain())
    absl.logging.set_verbosity(absl.logging.WARNING)


def _told_before(error: BaseException) -> str:
    """Return the mistake that was being told when cleaning up failed too, or an empty text."""
    before = error.__context__
    while before is not None and not isinstance(before, UserError):
        before = before.__context__
    return "" if before is None else str(before)


def _describe(error: OSError) -> str:
    """Say which file, or else which output, could not be used."""
    if error.errno == errno.EPIPE:
        return "standard output was closed; the same command goes on from what is saved"
    return f"{error.filename or 'standard output, or a file'}: {os.strerror(error.errno or 0)}"


def _fail(mistake: str) -> NoReturn:
    """End the process with one line."""
    with contextlib.suppress(OSError):
        print(f"error: {' '.join(mistake.split())}", file=sys.stderr, flush=True)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # or Python would tell of it at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    _end_peers(USER_ERROR)
    sys.exit(USER_ERROR)


def _end_peers(status: int) -> None:
    """Let the other processes of this run end soon, if JAX has been loaded to join any."""
    if "jax" in sys.modules:
        from jaxalign.devices.distributed import exit_soon

        exit_soon(status)


def _parse(needs_config: bool, positional: str, argv: Sequence[str]) -> list[str]:
    argv = list(argv)
    configured = "config" in flags.FLAGS  # a command on a workdir needs none
    renamed = {f"config.{old}": f"config.{new}" for old, new in RENAMED.items()}
    if "culturalbench" in flags.FLAGS:
        renamed["benchmark"] = "culturalbench"
    for argument in argv:
        name = argument.lstrip("-").partition("=")[0]
        if argument.startswith("-") and name in renamed:
            raise UserError(f"--{name} is now --{renamed[name]}")
    given = [each for each in argv if re.match(r"^--?config(?:=|$)", each)]
    if len(given) > 1:
        raise UserError(
            f"--config is given {len(given)} times: give one, and change its keys with "
            "--config.KEY=VALUE"
        )
    for index, argument in enumerate(argv):
        if match := re.match(r"^--?config(?:=(.*))?$", argument):
            if match[1] is not None:
                argv[index] = f"--config={find_config(match[1])}"
            elif index + 1 < len(argv):
                argv[index : index + 2] = [f"--config={find_config(argv[index + 1])}"]
            break
    else:
        asked = any(argument.lstrip("-") in _HELP for argument in argv)
        if configured and needs_config and not asked:
            raise UserError("--config=NAME[:VARIANT] is missing, such as --config=sa.py:embedded")
    # config_flags looks for overrides in sys.argv.
    sys.argv = argv
    try:
        left = flags.FLAGS(argv)
        if configured and flags.FLAGS.config is not None:  # --help has none
            flags.FLAGS.config.to_json()  # a config that could not be read says so at first use
    except (UserError, Warning):
        raise
    except Exception as error:
        raise UserError(_first_line(error)) from error
    if positional and len(left) == 1:
        raise UserError(f"give at least one {positional}")
    if not positional and len(left) > 1:
        raise UserError(f"unexpected argument {left[1]!r}; flags are written --name=value")
    return left


def _first_line(error: Exception) -> str:
    """Return what was wrong, without the quoting that nested exceptions add."""
    text = str(error)
    if typo := re.search(r"Did you mean (\S+) instead of (\S+)\?", text):
        return f"config has no key {typo[2]}; did you mean {typo[1]}?"
    if isinstance(error, AttributeError) and isinstance(error.__context__, KeyError):
        return f"config has no key {error.__context__.args[0]}"  # none is like it
    for told, meant in _MEANT.items():
        text = re.sub(told, meant, text)
    text = " ".join(text.split()) or type(error).__name__
    if isinstance(error, flags.Error):
        return text
    return f"--config: {text}; configs/template.py shows what a config looks like"


_WARNED = (
    "PYTHONWARNINGS or -W makes an error of a library's warning: leave it out, or name what it is "
    "about, as in PYTHONWARNINGS=error::UserWarning ({})"
)
_MEANT = {
    r"invalid literal for int\(\) with base 10: .*": "must be a whole number",
    r"could not convert string to float: .*": "must be a number",
}
