"""A random model of two layers with eight heads, which a mesh can split eight times."""

from pathlib import Path

import jax
import numpy as np

from jaxalign.make_embedded.tokenizer import corpus, train_tokenizer
from jaxalign.model import parse_config, random_model, save_model
from jaxalign.prompts import USUAL, load_texts, load_tokenizer
from jaxalign.survey import load_instrument

EIGHT_HEADS = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "tie_word_embeddings": True,
    "max_position_embeddings": 512,
}


def save_eight_heads(folder: Path) -> None:
    """Saves it with a tokenizer of its own."""
    train_tokenizer(corpus([(load_instrument("vsm13"), USUAL)] * 8, load_texts()), folder, 600)
    shape = EIGHT_HEADS | {"vocab_size": len(load_tokenizer(folder))}
    config = parse_config(shape, "eight")
    _, params = random_model(config, "float32", seed=0)
    louder = jax.tree.map(lambda leaf: leaf * (8.0 if np.std(leaf) > 0 else 1.0), params)
    save_model(folder, louder, config)
