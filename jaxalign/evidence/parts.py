"""Parts of an evaluation, kept as they are finished, so that an interrupted one resumes."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxalign.errors import UserError
from jaxalign.files import peek_json, write_json


class Parts:
    """Results by name, in files of a folder; each is made once for the same inputs.

    Args:
      folder: made when the first part is finished.
      inputs: what the parts depend on, as plain values; with other inputs all are made again.
      report: called with a part's name and its seconds, None where it was there, or why it was left
        out.

    Attributes:
      skipped: name and reason of each part that could not be asked.
    """

    def __init__(
        self,
        folder: Path,
        inputs: dict[str, Any],
        report: Callable[[str, float | str | None], None],
    ):
        self._folder, self._report = folder, report
        self._digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
        self.seconds: dict[str, float] = {}
        self.skipped: list[dict[str, str]] = []

    def get_if_asked(self, name: str, make: Callable[[], Any]) -> Any:
        """Return what `get` does, or None and the reason in `skipped` if it cannot be asked."""
        faults = []

        def attempt() -> Any:
            try:
                return make()
            except UserError as error:
                faults.append(error)
                raise

        try:
            return self.get(name, attempt)
        except UserError as error:
            if error not in faults:  # it was asked, and could not be written
                raise
            self.skipped.append({"name": name, "reason": str(error)})
            self._report(name, f"left out: {error}")
            return None

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """Return a part's result, JSON values only: kept from before, or made now and kept."""
        path = self._folder / f"{name}.json"
        kept = peek_json(path)
        if kept.get("inputs") == self._digest and {"seconds", "result"} <= kept.keys():
            self.seconds[name] = kept["seconds"]
            self._report(name, None)
            return kept["result"]
        begun = time.perf_counter()
        result = make()
        seconds = round(time.perf_counter() - begun, 2)
        write_json(path, {"inputs": self._digest, "seconds": seconds, "result": result})
        self.seconds[name] = seconds
        self._report(name, seconds)
        # As a later run reads it, so that both give the same.
        return json.loads(json.dumps(result))
