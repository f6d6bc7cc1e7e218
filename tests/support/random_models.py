"""Random models in the real format, small enough for a test."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxalign.make_embedded.tokenizer import corpus, train_tokenizer
from jaxalign.model import parse_config, random_model, save_model
from jaxalign.prompts import USUAL, load_texts, load_tokenizer
from jaxalign.survey import load_instrument

TINY = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": True,
    "max_position_embeddings": 512,
}

# A mesh can split it eight times.
EIGHT_HEADS = TINY | {"num_attention_heads": 8, "num_key_value_heads": 8}


def save_random(folder: Path, shape: dict[str, Any]) -> None:
    """Saves a model with a tokenizer of its own; weights large enough for varied answers.

    Args:
      folder: made if it is missing.
      shape: fields of config.json, without the size of the vocabulary.
    """
    train_tokenizer(corpus([(load_instrument("vsm13"), USUAL)] * 8, load_texts()), folder, 600)
    config = parse_config(shape | {"vocab_size": len(load_tokenizer(folder))}, "shape")
    _, params = random_model(config, "float32", seed=0)
    louder = jax.tree.map(lambda leaf: leaf * (8.0 if np.std(leaf) > 0 else 1.0), params)
    save_model(folder, louder, config)
