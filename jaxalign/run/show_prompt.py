"""The first question as the model sees it, for a look at the chat template."""

from jaxalign.model import TEXTS, on_disk, resolve
from jaxalign.prompts import ask_items, load_tokenizer, parse_format, render_chat
from jaxalign.settings import Settings, format_names
from jaxalign.survey import load_instrument


def print_first_question(settings: Settings) -> None:
    """Print the survey's first question whole, in the first format, with its special tokens.

    Of the model only the tokenizer is fetched and read.

    Raises:
      UserError: the survey or the tokenizer cannot be read.
    """
    instrument = load_instrument(settings.survey.instrument)
    shown = parse_format(format_names(settings.objective.formats)[0])
    with on_disk(resolve(settings.model.path, settings.model.revision, TEXTS)) as folder:
        tokenizer = load_tokenizer(folder, settings.model.chat_template)
    text = render_chat(tokenizer, ask_items(instrument, shown)[0].user)
    print(f"[soft prompt: {settings.prompt.length} rows]{text}")
