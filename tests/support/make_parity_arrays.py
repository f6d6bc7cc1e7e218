"""Store what transformers' torch Llama computes, for machines without torch.

    python tests/support/make_parity_arrays.py

writes tests/data/parity.npz: for each case the config, the weights, the inputs and the outputs.
Run it again only when CASES_STORED changes; the numbers are transformers', so they do not move
with our code, and a test that fails on them has found a fault in ours.
"""

import json

import numpy as np
import parity_cases as parity
from paths import DATA

PATH = DATA / "parity.npz"
SMALL = {"hidden_size": 16, "intermediate_size": 20, "vocab_size": 40, "num_hidden_layers": 2}
CASES_STORED = (
    "mqa",
    "one_layer",
    "tied",
    "biased",
    "gelu",
    "v5_llama3",
    "v4_llama3",
    "v5_yarn_full",
    "v4_linear",
)


def main() -> None:
    arrays = {}
    for name in CASES_STORED:
        raw = parity.BASE | SMALL | parity.CASES[name]
        model = parity.torch_model(raw)
        tokens, positions, mask = parity.inputs(raw["vocab_size"], length=10)
        # Two branches after a stem, far enough out for every scaling to matter.
        positions = np.array([0, 11, 22, 33, 44, 55, 66, 44, 55, 66])
        mask[7:, 4:7] = False
        outputs = parity.torch_outputs(model, tokens, positions, mask)
        weights = {key: value.numpy() for key, value in model.state_dict().items()}
        if raw.get("tie_word_embeddings"):
            del weights["lm_head.weight"]
        arrays[f"{name}/config"] = np.array(json.dumps(raw))
        arrays |= {f"{name}/weights/{key}": value for key, value in weights.items()}
        arrays |= {f"{name}/outputs/{key}": value for key, value in outputs.items()}
        arrays |= {
            f"{name}/inputs/tokens": tokens,
            f"{name}/inputs/positions": positions,
            f"{name}/inputs/mask": mask,
        }
    PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(PATH, **arrays)
    print(f"{PATH}: {len(CASES_STORED)} cases, {PATH.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
