"""How candidates are proposed: initial populations and strategies, over plain arrays."""

from jaxalign.search.initial import from_tokens, from_vocabulary, normal, vocabulary_bounds
from jaxalign.search.strategies import Strategy, make_strategy, strategy_names

__all__ = [
    "Strategy",
    "from_tokens",
    "from_vocabulary",
    "make_strategy",
    "normal",
    "strategy_names",
    "vocabulary_bounds",
]
