"""The first question as the model sees it, for a look at the chat template."""

from jaxalign.model import TEXTS, on_disk, resolve
from jaxalign.prompts import (
    ask_presentation,
    find_sets,
    load_tokenizer,
    read_levels,
    render_chat,
)
from jaxalign.settings import Settings, format_names, language_names
from jaxalign.survey import load_instrument


def print_first_question(settings: Settings) -> None:
    """Print the survey's first question whole, in the first presentation, with its special tokens.

    Of the model only the tokenizer is fetched and read.

    Raises:
      UserError: the survey or the tokenizer cannot be read.
    """
    instrument = load_instrument(settings.survey.instrument)
    levels = read_levels(instrument, language_names(settings.objective.languages))
    way = find_sets(levels, format_names(settings.objective.formats), settings.seed).tune[0]
    with on_disk(resolve(settings.model.path, settings.model.revision, TEXTS)) as folder:
        tokenizer = load_tokenizer(folder, settings.model.chat_template)
    first = ask_presentation(way)[0]
    text = render_chat(tokenizer, first.user, first.system, first.before)
    print(f"[soft prompt: {settings.prompt.length} rows]{text}")
