"""The peers: what one would write with transformers and torch, on the very same weights.

All Q questions of one or several candidates are one right-padded batch of `LlamaForCausalLM` over
input embeddings: whole, or what follows the part that all of them share. The head is applied to
each row's last token alone, and questions are embedded once for all; scores and losses are numpy's.
"""

import dataclasses
import importlib.util
import os
from typing import Any

import jax
import numpy as np

from jaxalign.errors import UserError
from jaxalign.model import NO_QUANTIZATION, to_hf
from jaxalign.model.abstract import named_leaves
from jaxalign.model.architecture import LLAMA
from jaxalign.model.weights import TOP_KEYS, source_keys
from jaxalign.objective import make_objective
from jaxalign.problem import Problem
from jaxalign.prompts.trie import ROOT, TokenTrie
from jaxalign.settings import Settings
from jaxalign.survey import DISTRIBUTION, Scoring, load_instrument

NAME = "transformers"
PACKAGES = ("torch", "transformers")
_DEVICES = {"cpu": "cpu", "gpu": "cuda"}  # JAX's platform to torch's


@dataclasses.dataclass
class Known:
    """What was found out about one population, for settings that share it.

    Attributes:
      batch: candidates in a batch that were fastest; tried: candidates per second by batch.
      seconds: that the whole of it took, in each round.
      loss_GP: its losses.
    """

    batch: int
    tried: dict[int, float]
    seconds: list[float]
    loss_GP: np.ndarray


class Peer:
    """transformers' Llama with a problem's weights, ready to score populations.

    Args:
      problem: whose weights it takes without a copy, and whose questions it asks.

    Attributes:
      name: for --peer.
      device: torch's name of it; threads: that torch uses on a processor.
      known: by the SHA-256 of a population's bytes.

    Raises:
      UserError: torch is missing, or does not see the device that JAX uses; the model is no llama,
        or an option has several tokens.
    """

    name = NAME

    def __init__(self, problem: Problem):
        family = problem.model_config.family
        if family != LLAMA:
            raise UserError(f"--peer: model_type {family.name!r} is not measured; give a llama")
        if problem.questions.longer is not None:
            raise UserError("--peer: options of several tokens are not measured; give other labels")
        self.device = find_device()
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.set_num_threads(_cores())
        self.threads = torch.get_num_threads()
        config = LlamaConfig(**to_hf(problem.model_config), attn_implementation="sdpa")
        tensors = _tensors(problem)
        with torch.device("meta"):
            model = LlamaForCausalLM(config)
        model.load_state_dict(tensors, assign=True, strict=False)
        model.tie_weights()
        rotary = type(model.model.rotary_emb)(config)  # its numbers follow from the config
        model.model.rotary_emb = rotary.to(self.device)
        assert not any(each.is_meta for each in (*model.parameters(), *model.buffers()))
        self._torch = torch
        self._model = model.eval()
        ids_QS, lengths_Q = right_padded(problem.questions.trie)
        is_shared_S = (ids_QS == ids_QS[0]).all(0)
        self._shared = int(np.append(is_shared_S, False).argmin().clip(max=lengths_Q.min() - 1))
        self._lengths_Q = torch.tensor(lengths_Q, device=self.device)
        with torch.inference_mode():
            ids = torch.tensor(ids_QS, device=self.device, dtype=torch.long)
            self._embedded_QSD = model.get_input_embeddings()(ids)
            self._there_QS = (
                torch.arange(ids.shape[1], device=self.device) < self._lengths_Q[:, None]
            )
        options = problem.questions.answer_ids_QA
        self._options_QA = torch.tensor(options, device=self.device, dtype=torch.long)
        self.known: dict[str, Known] = {}

    def logits(self, prompts_PLD: np.ndarray, batch: int) -> np.ndarray:
        """Return float32 logits of the options `[P, Q, A]`, `batch` candidates at a time."""
        torch = self._torch
        with torch.inference_mode():
            parts = [
                self._batch(prompts_PLD[first : first + batch])
                for first in range(0, len(prompts_PLD), batch)
            ]
            return torch.cat(parts).cpu().numpy()

    def fits(self, prompts_PLD: np.ndarray, batch: int) -> bool:
        """Run one batch; False where the device's memory is too small for it."""
        torch = self._torch
        try:
            self.logits(prompts_PLD[:batch], batch)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return False
        return True

    def _batch(self, prompts_BLD: np.ndarray) -> Any:
        torch = self._torch
        embedded_QSD = self._embedded_QSD
        questions, _, width = embedded_QSD.shape
        candidates, length, _ = prompts_BLD.shape
        prompts = torch.from_numpy(prompts_BLD).to(self.device, embedded_QSD.dtype)
        shape = candidates, questions, -1, width
        inputs = torch.cat(
            [prompts[:, None].expand(-1, questions, -1, -1), embedded_QSD.expand(shape)], dim=2
        ).flatten(0, 1)
        before = torch.ones(questions, length, dtype=torch.bool, device=self.device)
        mask = torch.cat([before, self._there_QS], dim=1).repeat(candidates, 1)
        hidden = self._model.model(
            inputs_embeds=inputs, attention_mask=mask, use_cache=False
        ).last_hidden_state
        return self._read(hidden, length + self._lengths_Q - 1)

    def _read(self, hidden: Any, last_Q: Any) -> Any:
        """Return the options' logits `[B, Q, A]` at each question's last row of `[B Q, S, D]`."""
        torch = self._torch
        candidates = len(hidden) // len(last_Q)
        rows = torch.arange(len(hidden), device=self.device)
        logits = self._model.lm_head(hidden[rows, last_Q.repeat(candidates)]).float()
        return logits.gather(1, self._options_QA.repeat(candidates, 1)).unflatten(
            0, (candidates, len(last_Q))
        )


class PrefixPeer(Peer):
    """The same, with soft prompt and all that questions share in a cache of keys and values.

    They are computed once for each candidate; the questions' rests are a batch on copies of it.
    """

    name = f"{NAME}-prefix"

    def _batch(self, prompts_BLD: np.ndarray) -> Any:
        torch, shared = self._torch, self._shared
        embedded_QSD = self._embedded_QSD
        questions, (candidates, length, _) = len(embedded_QSD), prompts_BLD.shape
        prompts = torch.from_numpy(prompts_BLD).to(self.device, embedded_QSD.dtype)
        prefix = torch.cat([prompts, embedded_QSD[:1, :shared].expand(candidates, -1, -1)], dim=1)
        cache = self._model.model(inputs_embeds=prefix, use_cache=True).cache
        cache.batch_repeat_interleave(questions)
        before = torch.ones(questions, length + shared, dtype=torch.bool, device=self.device)
        mask = torch.cat([before, self._there_QS[:, shared:]], dim=1).repeat(candidates, 1)
        hidden = self._model.model(
            inputs_embeds=embedded_QSD[:, shared:].repeat(candidates, 1, 1),
            attention_mask=mask,
            cache=cache,
            use_cache=True,
        ).last_hidden_state
        return self._read(hidden, self._lengths_Q - shared - 1)


PEERS = {each.name: each for each in (Peer, PrefixPeer)}


def find_device() -> str:
    """Return torch's name of the kind of device that JAX uses.

    Raises:
      UserError: torch is missing, or has no such device.
    """
    install = 'pip install "torch>=2.5"'
    if importlib.util.find_spec("torch") is None:
        raise UserError(f"--peer={NAME}: torch is not installed; {install}, or leave --peer out")
    import torch

    platform = jax.devices()[0].platform
    device = _DEVICES.get(platform)
    if device is None or (device == "cuda" and not torch.cuda.is_available()):
        raise UserError(
            f"--peer={NAME}: JAX runs on a {platform} that torch {torch.__version__} cannot use, "
            "and a ratio between two kinds of hardware says nothing; install a torch that can "
            f"({install}), set JAX_PLATFORMS=cpu, or leave --peer out"
        )
    return device


def check_objective(settings: Settings) -> None:
    """Refuse what the peer does not compute.

    Raises:
      UserError: the readout is not `expected`, a term beside `survey` has a weight, the weights
        are quantised, or the survey compares answer distributions.
    """
    if load_instrument(settings.survey.instrument).scoring == DISTRIBUTION:
        raise UserError(
            f"--peer={NAME} scores by linear formulas, which "
            f"survey.instrument={settings.survey.instrument!r} has not; give another instrument"
        )
    if settings.model.quantization != NO_QUANTIZATION:
        raise UserError(
            f"--peer={NAME} runs the weights as they are: leave model.quantization at "
            f"{NO_QUANTIZATION}, and compare the candidates/s of two runs"
        )
    weighted = [name for name, weight in make_objective(settings.objective).weights if weight]
    if settings.objective.readout != "expected" or weighted != ["survey"]:
        raise UserError(
            f"--peer={NAME} scores expected answers by the survey alone: set "
            "objective.readout=expected and leave objective.terms as they are"
        )


def numpy_losses(settings: Settings, problem: Problem, logits_PQA: np.ndarray) -> np.ndarray:
    """Return losses `[G, P]` of option logits, as one would write them in numpy."""
    scoring = problem.scoring
    assert isinstance(scoring, Scoring)  # `check_objective` has refused others
    logits_PQA = np.where(problem.questions.offered_QA, logits_PQA, -np.inf)
    shares_PQA = np.exp(logits_PQA - logits_PQA.max(-1, keepdims=True))
    shares_PQA /= shares_PQA.sum(-1, keepdims=True)
    items, options = scoring.values_QA.shape
    formats = len(problem.questions.presentations)
    asked_PFQA = shares_PQA[:, : formats * items, :options].reshape(-1, formats, items, options)
    means_PFQ = (asked_PFQA * scoring.values_QA).sum(-1)
    scores_PFC = means_PFQ @ np.asarray(scoring.weights_CQ).T + scoring.constant_C
    dimensions = problem.instrument.dimensions
    target_GC = np.array([[each.scores[key] for key in dimensions] for each in problem.targets])
    difference_GPFC = scores_PFC[None] - target_GC[:, None, None]
    if settings.objective.norm == "l1":
        distance_GPF = np.abs(difference_GPFC).sum(-1)
    else:
        distance_GPF = np.sqrt((difference_GPFC**2).sum(-1))
    return settings.objective.terms.survey * distance_GPF.mean(-1)


def right_padded(trie: TokenTrie) -> tuple[np.ndarray, np.ndarray]:
    """Return the trie's Q sequences, padded with zeros to the longest, and their lengths."""
    paths = []
    for node in trie.answer_nodes_Q:
        path = []
        while node != ROOT:
            path.append(trie.tokens_T[node])
            node = trie.parents_T[node]
        paths.append(path[::-1])
    lengths_Q = np.array([len(path) for path in paths])
    ids_QS = np.zeros((len(paths), lengths_Q.max()), np.int64)
    for row, path in zip(ids_QS, paths, strict=True):
        row[: len(path)] = path
    return ids_QS, lengths_Q


def _cores() -> int:
    """Return the number of cores that this process may run on."""
    allowed = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _tensors(problem: Problem) -> dict[str, Any]:
    """Return the weights under transformers' names, in JAX's own memory."""
    import torch

    tensors: dict[str, Any] = {}
    for name, leaf in named_leaves(problem.weights).items():
        stacked = torch.from_dlpack(leaf)
        rows = stacked[None] if name in TOP_KEYS else stacked
        keys = source_keys(name, problem.model_config.layers)
        tensors |= dict(zip(keys, rows, strict=True))
    return tensors
