"""What somebody wants advice for: how long, how many at a time, and what counts."""

import re
from dataclasses import dataclass
from enum import StrEnum

from matrix.errors import UsageError, quoted

_UNITS = {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*([A-Za-z]*)", re.ASCII)
_MOST_ROWS = 4096
_MOST_BATCHES = 8
_ROUND = 8  # what is cut to the positions is a multiple: RoBERTa's first two of 514 are of no token


class Prefer(StrEnum):
    """What the advised configuration is the best in."""

    LATENCY = "latency"  # seconds for one answer, in the smallest batch
    THROUGHPUT = "throughput"  # seconds for each row, in the batch in which they are fewest
    MEMORY = "memory"  # peak, in the smallest batch


@dataclass(frozen=True)
class Wanted:
    """What is asked for."""

    prompt: int = 2048  # tokens that go in
    new: int = 256  # tokens that come out; 0 of an encoder
    batches: tuple[int, ...] = (1, 8)  # rows, the fewest first
    memory: int | None = None  # bytes that it may take at most
    loss: float = 0.01  # nats that quantisation may cost
    prefer: Prefer = Prefer.LATENCY

    @property
    def rows(self) -> tuple[int, ...]:
        """The batches, that which decides first: throughput is told with the most rows, all else with the fewest."""
        return self.batches[::-1] if self.prefer is Prefer.THROUGHPUT else self.batches


def parse_memory(text: str) -> int:
    """Bytes, of `24GiB`, `800MB` or a plain number.

    Raises:
        UsageError: it is nothing of that kind.
    """
    found = _SIZE.fullmatch(text.strip())
    unit = found[2].upper() if found else ""
    if found is None or unit not in _UNITS or float(found[1]) <= 0:
        raise UsageError(f"--memory {quoted(text)}: must be a size such as 24GiB")
    return int(float(found[1]) * _UNITS[unit])


def parse_batches(text: str) -> tuple[int, ...]:
    """Numbers of rows, each once and the fewest first, of `1,8`.

    Raises:
        UsageError: one is no number between 1 and 4096, or they are too many.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"\d{1,4}", part, re.ASCII) and 0 < int(part) <= _MOST_ROWS for part in parts):
        raise UsageError(f"--batch {quoted(text)}: must be numbers of rows up to {_MOST_ROWS}, such as 1,8")
    batches = tuple(sorted({int(part) for part in parts}))
    if len(batches) > _MOST_BATCHES:
        raise UsageError(f"--batch {quoted(text)}: at most {_MOST_BATCHES} of them")
    return batches


def fitted(prompt: int, new: int, positions: int | None) -> tuple[int, int, str]:
    """Prompt and new tokens that the model has positions for, and a line where that is less than was asked for."""
    if positions is None or prompt + new <= positions:
        return prompt, new, ""
    fewer = new if new <= positions // 2 else positions // 4
    shorter = max(_ROUND, (min(prompt, positions - fewer) // _ROUND) * _ROUND)
    measured = f"a prompt of {shorter:,}" + (f" and {fewer:,} new" if new else "")
    return shorter, fewer, f"{prompt + new:,} tokens go beyond its {positions:,} positions: measured with {measured}"
