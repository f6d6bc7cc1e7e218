"""Models and surveys that the peer would measure wrongly."""

import dataclasses

import pytest

from jaxalign.benchmark.peer import Peer
from jaxalign.errors import UserError
from jaxalign.model.architecture import QWEN3


def test_another_family(tiny_problem):
    config = dataclasses.replace(tiny_problem.model_config, family=QWEN3)
    with pytest.raises(UserError, match="model_type 'qwen3' is not measured"):
        Peer(dataclasses.replace(tiny_problem, model_config=config))


def test_options_of_several_tokens(tiny_problem):
    questions = dataclasses.replace(tiny_problem.questions, longer=())
    with pytest.raises(UserError, match="options of several tokens"):
        Peer(dataclasses.replace(tiny_problem, questions=questions))
