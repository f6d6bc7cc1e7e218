"""Soft prompts in the files of other tools: read from them, written for them, described for them.

PEFT's prompt tuning and numpy's arrays are read and written; tensors of whole questions, which
engines take in place of text, are written. None of these tools is needed for it.
"""

from jaxalign.interchange.exporting import export
from jaxalign.interchange.reading import prompt_file, read_population, read_soft_prompt
from jaxalign.interchange.writers import WRITERS

__all__ = [
    "WRITERS",
    "export",
    "prompt_file",
    "read_population",
    "read_soft_prompt",
]
