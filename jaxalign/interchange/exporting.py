"""An export as a whole: from the workdir of a finished run to folders that other tools read."""

from collections.abc import Iterator
from pathlib import Path

from jaxalign.errors import UserError
from jaxalign.interchange.base import BaseModel, find_base
from jaxalign.interchange.card import countries_card, model_card
from jaxalign.interchange.folder import write_export
from jaxalign.interchange.tuned import TunedPrompt, countries_of, read_tuned
from jaxalign.interchange.writers import WRITERS


def export(workdir: Path, form: str, output: Path) -> tuple[list[TunedPrompt], list[str]]:
    """Write what a run found in another tool's form, with a model card.

    Args:
      workdir: of a finished run; of one for several countries, whose prompts then go to a folder
        CODE each, or its `countries/CODE`.
      form: one of WRITERS.
      output: folder that is made, or replaced if it holds an earlier export.

    Returns:
      The prompts, and the names of the files.

    Raises:
      UserError: the run is not finished, what it was made of is gone, or the output is in use.
    """
    codes = countries_of(workdir)
    folders = {f"{code}/": workdir / "countries" / code for code in codes} or {"": workdir}
    prompts = {place: read_tuned(folder) for place, folder in folders.items()}
    first = next(iter(prompts.values()))
    base = find_base(first.model, first.revision)
    for place, tuned in prompts.items():
        width = tuned.prompt_LD.shape[1]
        if width != base.config.width:
            raise UserError(
                f"{folders[place]}: its prompt is {width} wide and its model {first.model} "
                f"{base.config.width}; one of them was replaced since the run"
            )
    return list(prompts.values()), write_export(output, _files(form, prompts, base))


def _files(
    form: str, prompts: dict[str, TunedPrompt], base: BaseModel
) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file, one country's at a time."""
    write = WRITERS[form](base, next(iter(prompts.values())))
    for place, tuned in prompts.items():
        for name, content in write(tuned).items():
            yield place + name, content
        yield f"{place}README.md", model_card(form, tuned, base).encode()
    if "" not in prompts:
        yield "README.md", countries_card(list(prompts.values())).encode()
