"""From the name of a claim to its answer and the points behind it."""

import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch

from conformance import spellings
from conformance.claims.latency import Benchmarks, Grid
from conformance.claims.pipelines import Compared, compare_pipeline, opt_350m
from conformance.claims.quality import measure_quality
from conformance.claims.sizes import measure_sizes
from conformance.models.fixtures import fixture
from matrix import claims
from matrix.architectures import Architecture
from matrix.claims import Answer, Sizes, slower_or_hungrier
from matrix.stack import Device, Stack
from reports.document import Point

_OF_POINTS = {
    "C1": claims.judge_speed_up,
    "C2": claims.judge_padding,
    "C3": claims.judge_memory,
    "C4": claims.judge_padded_generation,
}
_OF_SIZES = {"C5": claims.judge_four_bits, "C6": claims.judge_eight_bits}


class Measurements:
    """Measures what the claims ask for, on one device; what several of them need is measured once."""

    def __init__(self, stack: Stack, fixture_cache: Path, architectures: Mapping[str, Architecture]) -> None:
        spellings.quieten()
        self._stack = stack
        self._cache = fixture_cache
        self._architectures = architectures
        self._device = torch.device("cuda:0" if stack.device is Device.CUDA else "cpu")

    def answer(self, name: str) -> tuple[Answer, list[Point]]:
        """How a claim falls, and its points. Where a backend costs more than eager attention, lines say so."""
        if name in _OF_POINTS:
            points = self._benchmarks.points(name)
            answer = _OF_POINTS[name](points)
            sentences = "\n".join([answer.sentence, *slower_or_hungrier(points)])
            return Answer(answer.outcome, sentences, answer.figures), points
        self._benchmarks.release()
        if name in _OF_SIZES:
            return _OF_SIZES[name](self._sizes), []
        if name == "C7":
            return claims.judge_quality(measure_quality(self._stack.device, self._architectures, self._cache)), []
        compared = self._compared
        return claims.judge_pipeline(compared.points, same_tokens=compared.same_tokens), compared.points

    @cached_property
    def _benchmarks(self) -> Benchmarks:
        return Benchmarks(self._device, Grid())

    @cached_property
    def _sizes(self) -> Sizes:
        return measure_sizes(self._device)

    @cached_property
    def _compared(self) -> Compared:
        """OPT-350m, which the guide names, where there is a GPU; elsewhere the suite's own small OPT."""
        if self._device.type == "cpu":
            checkpoint = str(fixture(self._architectures["opt"], self._cache))
            return compare_pipeline("small OPT, int8", checkpoint, self._device)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = opt_350m(self._device, Path(folder))
            return compare_pipeline("OPT-350m, int8", checkpoint, self._device)
