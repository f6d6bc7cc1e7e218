"""What a generation costs, part by part, beside a ceiling and beside what one would write in torch.

One idea a module: `ceiling` (the matrix product), `counts` (operations), `compiling` (cold and from
the cache), `parts` (a generation taken apart), `measure` (the figures of one setting), `peer` and
`duel` (transformers, side by side), `sweep` and `points` (many settings), `trace`.
"""

from jaxalign.benchmark.counts import linear_parameters
from jaxalign.benchmark.points import measure_points
from jaxalign.benchmark.sweep import Point, make_points

__all__ = ["Point", "linear_parameters", "make_points", "measure_points"]
