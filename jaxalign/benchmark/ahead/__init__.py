"""Programs compiled for chips that are not there, and what can be read from them.

`chips` names the chips and finds XLA's compiler for them, `abstract` makes a problem of shapes,
`hlo` and `collectives` read a program, and `compiled` puts the figures together. Nothing is run.
"""

from jaxalign.benchmark.ahead.chips import Target, find_target
from jaxalign.benchmark.ahead.compiled import compile_points

__all__ = ["Target", "compile_points", "find_target"]
