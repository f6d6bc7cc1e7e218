"""Counts in compiled programs what one generation computes and sends on 1 to 256 devices.

    python tests/support/weak_scaling.py [--devices=1,2,4] [--model=8] [--population=8]

The model with eight heads of random_models.py on forced host devices, with so many candidates for
each group of devices that holds it. Nothing is run. One JSON line for each number of devices, all
of it per device and generation: operations of the matrix products, and bytes sent within the
forward pass and around it, both as counted and as the formulas have them.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

LENGTH = 8


def count(folder: Path, devices: int, model: int, population: int) -> dict[str, Any]:
    """Compiles the step of a run on a mesh and counts in it.

    Args:
      folder: of the model.
      devices: of the mesh.
      model: of its second axis.
      population: candidates for each group of `model` devices, all at a time.
    """
    from engines import make_engine

    from jaxalign.benchmark.ahead.collectives import collectives_of
    from jaxalign.benchmark.ahead.hlo import matrix_flop
    from jaxalign.config import base, freeze
    from jaxalign.model.cost import candidate_flop, shared_flop
    from jaxalign.problem import load_problem

    groups = devices // model
    config = base("embedded")
    config.country = "SA"
    config.model.path = str(folder)
    config.prompt.length = LENGTH
    config.search.strategy = "jDE"  # keeps its size, so that all generations are alike
    config.search.population = population * groups
    config.evaluation.chunk = population
    config.objective.formats = "identity"
    config.mesh.population, config.mesh.model = groups, model
    problem = load_problem(freeze(config))
    engine = make_engine(config, problem, starts=True)
    program = engine.step.func.as_text()
    found = collectives_of(program, devices)
    within = [each for each in found if "/evaluate/" in each.scope and "/while/" in each.scope]

    layout, architecture = problem.task.layout, problem.model_config
    answers, tokens, width = len(layout.answer_nodes_Q), layout.tree.size, architecture.width
    options = layout.answer_ids_QA.shape[1]
    flop = candidate_flop(architecture, LENGTH, layout.tree, answers) * population
    flop += shared_flop(architecture, layout.tree)
    # Two sums a layer over all rows, in the last over the answers, and one over the options.
    rows = 2 * (architecture.layers - 1) * (LENGTH + tokens) + 2 * answers
    sums = 4 * population * (rows * width + answers * options)
    others, apart = (groups - 1) / groups, (model - 1) / model
    prompts = 4 * population * LENGTH * width
    around = prompts * (others + apart) + 4 * tokens * width * apart
    around += 4 * population * groups * answers * options * others
    return {
        "devices": devices,
        "model": model,
        "flop": matrix_flop(program),
        "flop by formula": flop / model,
        "sent within": sum(each.sent for each in within),
        "sent within by formula": 2 * sums * apart,
        "sent around": sum(each.sent for each in found) - sum(each.sent for each in within),
        "sent around by formula": around,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--devices", default="1,2,4,8,16,32,64,128,256")
    parser.add_argument("--model", type=int, default=1)
    parser.add_argument("--population", type=int, default=8)
    given = parser.parse_args()
    numbers = [int(number) for number in given.devices.split(",")]
    flags = f"--xla_force_host_platform_device_count={max(numbers)}"
    os.environ |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    from random_models import EIGHT_HEADS, save_random

    with tempfile.TemporaryDirectory() as folder:
        save_random(Path(folder), EIGHT_HEADS)
        for devices in numbers:
            if devices % given.model == 0:
                told = count(Path(folder), devices, given.model, given.population)
                print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
