"""Align a frozen language model with a country's values: soft prompts, evolved in JAX."""

import sys
import time
from typing import TYPE_CHECKING, Any

from jaxalign.errors import INTERRUPTS, UserError

if TYPE_CHECKING:
    from jaxalign.api import Answers, Result, ask, load, tune

__version__ = "0.1.0"
__all__ = ["Answers", "Result", "UserError", "ask", "load", "tune"]
if sys.argv[:1] == ["-m"]:  # one of our commands is being located, and imports for seconds
    INTERRUPTS.watch()
IMPORTED = time.perf_counter()  # `startup` counts a command's seconds from here


def __getattr__(name: str) -> Any:
    """Import the API when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module 'jaxalign' has no attribute {name!r}")
    from jaxalign import api

    return getattr(api, name)
