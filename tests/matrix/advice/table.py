"""Configurations with times that are known, in place of a machine."""

import math
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from matrix.advice.search import Failed, Finding, Sample, State
from matrix.advice.space import Configuration, Model, plain_cell
from matrix.expectation import load_rules
from tests.builders import ARCHITECTURES, cuda_stack

RULES = load_rules(ARCHITECTURES)
STACK = cuda_stack({"transformers": "5.17.0", "flash-attn": "2.8.3", "bitsandbytes": "0.50.2", "accelerate": "1.15.0"})


def model_of(name: str = "llama", **changes: object) -> Model:
    architecture = ARCHITECTURES[name]
    default = Configuration(plain_cell(architecture, "bfloat16", "sdpa"))
    return Model(architecture, 10**9, default, **changes)  # type: ignore[arg-type]


@dataclass
class Table:
    """A machine: what each configuration is, what a token takes, and how far a call strays from it."""

    token: Callable[[Configuration], float]
    wrong: Collection[str] = ()
    failing: dict[int, Failed] = field(default_factory=dict)
    loss: float = 0.001
    noise: float = 0.0  # standard deviation of the logarithm
    drift: float = 0.0  # of the whole machine, from turn to turn
    seed: int = 0
    calls: int = 0
    most: int = 10_000
    timed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def judge(self, one: Configuration) -> Finding:
        state = State.WRONG if one.name in self.wrong else State.RIGHT
        loss = self.loss if one.cell.quantisation.stored_as else None
        return Finding(state, "max error 9 exceeds 1" if state is State.WRONG else "", loss=loss)

    def time(self, one: Configuration, rows: int, new: int, turn: int) -> Sample | Failed:
        self.calls += 1
        self.timed.append(one.name)
        if rows in self.failing:
            return self.failing[rows]
        factor = math.exp(self.random.gauss(0, self.noise) + self.drift * turn)
        token = self.token(one) * factor * rows**0.5
        peak = 10**9 if one.cell.quantisation.stored_as else 4 * 10**9
        return Sample(first=10 * token, whole=10 * token + (new - 1) * token, new=new, peak=peak)

    def left(self) -> float:
        return 1 - self.calls / self.most

    def say(self, line: str) -> None:
        pass
