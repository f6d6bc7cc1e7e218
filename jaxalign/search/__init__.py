"""How candidates are proposed: spaces, initial populations and strategies, over plain arrays."""

from jaxalign.search.answers import ExpectedAnswers
from jaxalign.search.contract import Strategy
from jaxalign.search.initial import (
    embedding_std,
    from_tokens,
    from_vocabulary,
    mixtures,
    normal,
    resize_population,
    vocabulary_bounds,
)
from jaxalign.search.plan import Draw, SearchPlan, check_strategy, draw_key, strategy_for
from jaxalign.search.spaces import (
    Space,
    first_layer_space,
    first_vectors,
    full_space,
    mean_norm,
    random_subspace,
    text_space,
    with_limits,
)
from jaxalign.search.strategies import (
    SHRINKING,
    generations_for,
    is_ours,
    make_strategy,
    strategy_file,
    strategy_names,
)

__all__ = [
    "SHRINKING",
    "Draw",
    "ExpectedAnswers",
    "SearchPlan",
    "Space",
    "Strategy",
    "check_strategy",
    "draw_key",
    "embedding_std",
    "first_layer_space",
    "first_vectors",
    "from_tokens",
    "from_vocabulary",
    "full_space",
    "generations_for",
    "is_ours",
    "make_strategy",
    "mean_norm",
    "mixtures",
    "normal",
    "random_subspace",
    "resize_population",
    "strategy_file",
    "strategy_for",
    "strategy_names",
    "text_space",
    "vocabulary_bounds",
    "with_limits",
]
