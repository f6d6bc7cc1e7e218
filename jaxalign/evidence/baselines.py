"""What else gives which loss: the survey asked of the model in every way that needs no tuning."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxalign.errors import UserError
from jaxalign.evidence.asking import Asker
from jaxalign.evidence.demonstrations import ask_with_demonstrations, fitting_answers
from jaxalign.evidence.siblings import Sibling
from jaxalign.problem import Problem
from jaxalign.prompts import Asked, Texts, ask_presentation

DEMONSTRATIONS = (1, 4, 8, 16)
RANDOM_PROMPTS = 8
WAYS = 2
TUNED, NAIVE = "tuned", "naive"
PERSONA, BEST_PERSONA = "persona (median)", "persona (best)"


@dataclass(frozen=True, eq=False)
class Method:
    """A way to make the model answer, in one or several variants, one of which represents it.

    Attributes:
      name: for people.
      group: `tuned`, `reference`, `text` (a prompt in words) or `control` (a soft prompt that
        should not work).
      shares_FIA: answers of the representative variant, format by format.
      losses_V: of all variants; scores_C: of the one.
      loss: of the one.
      note: what the variants are, or None.
      text: of the one, where variants are texts, or None.
    """

    name: str
    group: str
    shares_FIA: np.ndarray
    losses_V: np.ndarray
    scores_C: np.ndarray
    loss: float
    note: str | None = None
    text: str | None = None


class Baselines:
    """Asks a problem's survey in the first `WAYS` presentations that the prompt was tuned on.

    More would make an evaluation long, since there are dozens of texts to ask them with.

    Args:
      asker: of the problem's model.
      problem: with one target.
      prompt_LD: the tuned prompt.
      norm: of the loss.
    """

    def __init__(self, asker: Asker, problem: Problem, prompt_LD: np.ndarray, norm: str):
        self._asker, self._problem, self._norm = asker, problem, norm
        self._prompt_LD, self._ways = prompt_LD, problem.sets.tune[:WAYS]

    @functools.cached_property
    def naive(self) -> Method:
        """The model as it is."""
        return self.method(NAIVE, "reference", self._asker.ask(self._ask()))

    @functools.cached_property
    def tuned(self) -> Method:
        """The model behind the tuned prompt."""
        return self.method(TUNED, "tuned", self._asker.ask(self._ask(), self._prompt_LD[None]))

    def texts(
        self, texts: Texts, seed: int
    ) -> tuple[list[Method], list[dict[str, Any]], list[dict[str, str]]]:
        """Persona and in-context methods; each persona with its loss; what was left out, and why.

        Left out is what the template refuses or is too long for the model's positions.
        """
        problem, target = self._problem, self._problem.targets[0]
        country = texts.countries.get(target.code, target.country)
        spoken_as = {
            wording.format(country=country): wording
            for wording in (*texts.personas, *texts.held_out)
        }
        ways: dict[str, list[Asked]] = {}
        skipped: list[dict[str, str]] = []

        def add(name: str, ask: Callable[[], list[Asked]], is_persona: bool = False) -> None:
            try:
                asked = ask()
                fault = self._asker.fault(asked)
            except UserError as error:
                fault = str(error)
            if fault is None:
                ways[name] = asked
            else:
                told = f"persona “{name}”" if is_persona else name
                skipped.append({"name": told, "reason": fault})

        for persona in spoken_as:
            add(persona, functools.partial(self._ask, persona), is_persona=True)
        personas = list(ways)
        answers_I = fitting_answers(problem.instrument, self._loss_of_options, seed)
        order = np.random.default_rng(seed).permutation(len(answers_I))
        counts = [count for count in DEMONSTRATIONS if count < len(answers_I)]
        contexts = {
            f"in-context, {count} answer{'s' * (count > 1)}{', country named' * named}": (
                count,
                personas[0] if named else None,
            )
            for named in (False, True)[: 1 + bool(personas)]
            for count in counts
        }

        def demonstrate(count: int, system: str | None) -> list[Asked]:
            return [
                one
                for way in self._ways
                for one in ask_with_demonstrations(way, answers_I, order, count, system)
            ]

        for name, (count, system) in contexts.items():
            add(name, functools.partial(demonstrate, count, system))
        if not ways:
            return [], [], skipped
        asked = [one for way in ways.values() for one in way]
        shares = self._asker.ask(asked)[0].reshape(len(ways), len(asked) // len(ways), -1)
        rows = dict(zip(ways, shares, strict=True))
        methods, table = [], []
        if personas:
            spoken, note = np.stack([rows[one] for one in personas]), f"{len(personas)} wordings"
            best = self.method(BEST_PERSONA, "text", spoken, np.min, texts=personas)
            methods = [self.method(PERSONA, "text", spoken, _median, note, personas), best]
            table = [
                {"text": text, "loss": float(loss), "held_out": spoken_as[text] in texts.held_out}
                for text, loss in zip(personas, best.losses_V, strict=True)
            ]
        methods += [
            self.method(name, "text", rows[name][None]) for name in contexts if name in ways
        ]
        return methods, table, skipped

    def controls(self, siblings: list[Sibling], seed: int) -> list[Method]:
        """Return soft prompts that serve as controls."""
        prompt_LD = self._prompt_LD
        rng = np.random.default_rng(seed)
        noise_RLD = rng.standard_normal((RANDOM_PROMPTS, *prompt_LD.shape)).astype(np.float32)
        norms_L1 = np.linalg.norm(prompt_LD, axis=-1, keepdims=True)
        random_RLD = noise_RLD / np.linalg.norm(noise_RLD, axis=-1, keepdims=True) * norms_L1
        others = [sibling for sibling in siblings if self._is_control(sibling)]
        prompts = [*random_RLD, *(sibling.prompt_LD for sibling in others)]
        shares = self._asker.ask(self._ask(), np.stack(prompts))
        note = f"{RANDOM_PROMPTS} draws with the tuned rows' norms; the median"
        methods = [self.method("random prompt", "control", shares[:RANDOM_PROMPTS], _median, note)]
        for sibling, answered in zip(others, shares[RANDOM_PROMPTS:], strict=True):
            name = "prompt of shuffled targets" if sibling.shuffled else f"prompt of {sibling.name}"
            methods.append(
                self.method(name, "control", answered[None], note=f"from {sibling.folder.name}")
            )
        return methods

    def _is_control(self, sibling: Sibling) -> bool:
        """Return whether it is another country's, or this one's with shuffled targets."""
        return sibling.shuffled == (sibling.country == self._problem.targets[0].code)

    def method(
        self,
        name: str,
        group: str,
        shares_VNA: np.ndarray,
        choose: Any = np.min,
        note: str | None = None,
        texts: list[str] | None = None,
    ) -> Method:
        """Return the method that is represented by the variant that `choose` picks."""
        scores_VC, loss_GV = self._asker.measure(shares_VNA, self._norm)
        chosen = int(np.argmin(np.abs(loss_GV[0] - choose(loss_GV[0]))))
        shares_FIA = shares_VNA[chosen].reshape(len(self._ways), -1, shares_VNA.shape[-1])
        return Method(
            name,
            group,
            shares_FIA,
            loss_GV[0],
            scores_VC[chosen],
            float(loss_GV[0, chosen]),
            note,
            texts[chosen] if texts else None,
        )

    def compare_countries(
        self, siblings: list[Sibling], target_GC: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the tuned prompt and those of other countries, each scored against each target.

        Args:
          siblings: G - 1 other countries' prompts.
          target_GC: of this country and of the siblings, in this order.

        Returns:
          Scores [G, C] of each prompt; losses [G, G], a row for each prompt, a column for each
          target; the naive model's losses [G].
        """
        prompts = np.stack([self._prompt_LD, *(sibling.prompt_LD for sibling in siblings)])
        shares = self._asker.ask(self._ask(), prompts)
        naive_NA = self.naive.shares_FIA.reshape(1, -1, shares.shape[-1])
        scores_GC, loss_GG = self._asker.measure(shares, self._norm, target_GC)
        _, naive_G1 = self._asker.measure(naive_NA, self._norm, target_GC)
        return scores_GC, loss_GG.T, naive_G1[:, 0]

    def _ask(self, system: str | None = None) -> list[Asked]:
        return [one for way in self._ways for one in ask_presentation(way, system)]

    def _loss_of_options(self, options_NI: np.ndarray) -> np.ndarray:
        width = self._problem.scoring.values_QA.shape[1]
        chosen_NIA = (options_NI[..., None] == np.arange(width)).astype(np.float32)
        return self._asker.measure(chosen_NIA, self._norm)[1][0]


def _median(losses_V: np.ndarray) -> float:
    """Return the lower median, which is the loss of a variant."""
    return float(np.sort(losses_V)[(len(losses_V) - 1) // 2])
