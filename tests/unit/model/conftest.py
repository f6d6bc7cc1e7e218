from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

Outputs = dict[str, np.ndarray]


@pytest.fixture
def run_ours() -> Callable[..., Outputs]:
    """Run our forward on one sequence, reading every position, and name outputs as torch's are."""

    def run(graphdef, params, tokens, positions, mask) -> Outputs:
        @jax.jit
        def forward(params, tokens, positions, mask):
            model = nnx.merge(graphdef, params)
            everywhere = jnp.arange(tokens.shape[0])
            embeddings = model.embed(tokens)
            hidden = model(embeddings, positions, mask, everywhere)
            vocabulary = jnp.arange(model.config.vocab_size)
            ids = jnp.broadcast_to(vocabulary, (tokens.shape[0], vocabulary.shape[0]))
            return {
                "states": model.layer_states(embeddings, positions, mask)[:-1],
                "hidden": hidden,
                "logits": model.option_logits(hidden, ids),
            }

        outputs = forward(params, *(jnp.asarray(array) for array in (tokens, positions, mask)))
        return {name: np.asarray(value) for name, value in outputs.items()}

    return run
