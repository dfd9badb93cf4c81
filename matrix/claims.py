"""What the guide says of speed, memory and quality: eight claims, and how each is judged from what was measured.

Pure: the measuring is in conformance/claims/. A claim is answered in one sentence with its figures, whichever way it
falls; where nothing comparable could be measured, the answer says why.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from packaging.specifiers import SpecifierSet

from matrix.rows import RowOutcome
from matrix.stack import Device, Stack

EAGER = "eager"
SDPA = "sdpa"
FLASH = "flash_attention_2"
OUT_OF_MEMORY = "out of memory"

# Medians of a few repetitions on a warm device wander by a few per cent; less than this is no difference.
NOISE = 1.05
CONSIDERABLE = 1.5
LARGE_SAVING = 10.0
SIGNIFICANT_LOSS = 0.10
NEARLY_EIGHTFOLD = 7.0
SIZE_TOLERANCE = 0.02
ALMOST_NO_DIVERGENCE = 0.01


class Measured(Protocol):
    """One measurement, as `reports.document.Point` holds it."""

    @property
    def subject(self) -> str:
        """What was measured."""

    @property
    def backend(self) -> str:
        """With what."""

    @property
    def workload(self) -> str:
        """Prefill or generate."""

    @property
    def batch(self) -> int:
        """Rows."""

    @property
    def sequence(self) -> int:
        """Tokens in each row."""

    @property
    def padding(self) -> float:
        """Share of tokens that is padding."""

    @property
    def seconds(self) -> Sequence[float]:
        """Of each repetition."""

    @property
    def tokens_per_second(self) -> float | None:
        """Of a generation."""

    @property
    def peak_mib(self) -> float | None:
        """Most memory in use at a time, above the weights."""

    @property
    def failure(self) -> str:
        """Why there is no measurement."""


class Place(NamedTuple):
    """Where backends are compared: all of a measurement but its backend."""

    subject: str
    workload: str
    batch: int
    sequence: int
    padding: float


@dataclass(frozen=True)
class Claim:
    """One claim of the guide."""

    name: str
    about: str  # the guide's claim, in a sentence
    needs: tuple[str, ...]  # as Stack.lacks knows them
    timed: bool = False  # whether it measures time, and must be alone on its device
    on_cpu: Mapping[str, SpecifierSet] = field(default_factory=dict)  # the releases that can do it without a GPU

    def why_unreachable(self, stack: Stack) -> str:
        """What the stack does not have, such as "needs cuda, flash-attn"; empty if nothing is missing."""
        missing = [name for name in ("torch", "transformers", *self.needs) if stack.lacks(name)]
        if not missing and stack.device is Device.CPU:
            missing = [
                f"cuda or {name} {wanted} (here {stack.versions[name]})"
                for name, wanted in self.on_cpu.items()
                if not wanted.contains(stack.versions[name], prereleases=True)
            ]
        return f"needs {', '.join(missing)}" if missing else ""


@dataclass(frozen=True)
class Answer:
    """How a claim falls."""

    outcome: RowOutcome
    sentence: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sizes:
    """Bytes of a model's weights: those of one layer's linear modules as measured, the rest from its shape."""

    subject: str
    linear: Mapping[str, int]  # format -> bytes of one layer's linear weights and their quantisation state
    layers: int
    other_parameters: int  # embeddings, head and norms of the whole model, which stay in 16 bits

    def whole(self, form: str) -> int:
        """Bytes of the whole model in that format: computed, for only one layer was loaded."""
        return self.layers * self.linear[form] + self.other_parameters * (4 if form == "float32" else 2)


@dataclass(frozen=True)
class Quality:
    """One model in one format, against the unquantised model in float32."""

    fixture: str
    dtype: str
    quantisation: str  # "none": the dtype's own rounding
    kl_mean: float  # nats per position
    top1_agreement: float  # share of positions


_FLASH_NEEDS = ("cuda", "flash-attn")
_BITSANDBYTES_NEEDS = ("bitsandbytes", "accelerate")
# Older ones load nothing quantised on a CPU: see the waiver of bitsandbytes_frozen_devices.py.
_QUANTISED_ON_CPU = {"transformers": SpecifierSet(">=4.49")}

CLAIMS = {
    claim.name: claim
    for claim in (
        Claim(
            "C1",
            "FlashAttention-2 gives a considerable speed-up at length 4096 without padding, at each batch size.",
            _FLASH_NEEDS,
            timed=True,
        ),
        Claim(
            "C2",
            "With padding and short sequences the speed-up of FlashAttention-2 is small; with long ones it is worth "
            "having even so.",
            _FLASH_NEEDS,
            timed=True,
        ),
        Claim("C3", "FlashAttention-2 cuts memory by up to 20 times on long sequences.", _FLASH_NEEDS, timed=True),
        Claim(
            "C4",
            "Batched generation with padding is significantly slowed, as FlashAttention-2 must unpad and pad.",
            _FLASH_NEEDS,
            timed=True,
        ),
        Claim(
            "C5", "FP4 makes a model up to 8 times smaller than float32.", _BITSANDBYTES_NEEDS, on_cpu=_QUANTISED_ON_CPU
        ),
        Claim(
            "C6",
            "Int8 halves linear weights against 16 bits and quarters them against float32.",
            _BITSANDBYTES_NEEDS,
            on_cpu=_QUANTISED_ON_CPU,
        ),
        Claim(
            "C7",
            "Int8 has almost no effect on quality, outliers included.",
            _BITSANDBYTES_NEEDS,
            on_cpu=_QUANTISED_ON_CPU,
        ),
        Claim(
            "C8",
            "An int8 model is slower in `pipeline()` than in `generate()`.",
            _BITSANDBYTES_NEEDS,
            timed=True,
            on_cpu=_QUANTISED_ON_CPU,
        ),
    )
}


def seconds_of(point: Measured) -> float | None:
    """The median of the repetitions; None where there is no measurement that can be trusted."""
    if point.failure or not point.seconds or not all(math.isfinite(second) and second > 0 for second in point.seconds):
        return None
    return statistics.median(point.seconds)


def peak_of(point: Measured) -> float | None:
    """The peak memory in MiB; None where there is none."""
    peak = point.peak_mib
    return peak if not point.failure and peak is not None and math.isfinite(peak) and peak > 0 else None


def rate_of(point: Measured) -> float | None:
    """Tokens per second; None where there is none."""
    rate = point.tokens_per_second
    return rate if not point.failure and rate is not None and math.isfinite(rate) and rate > 0 else None


def judge_speed_up(points: Iterable[Measured]) -> Answer:
    """C1: prefill without padding, eager over FlashAttention-2.

    The guide shows plots and says "considerable". 1.5 times is asked of every batch size of every model that ran in
    both: a third of the time gone is what a user would notice and what noise, clocks or another release's kernels
    would not produce; a first reading on an H100 lay at 2.7 and more.
    """
    points = _prefills(points, lambda point: point.padding == 0)
    found = _ratios(points, FLASH, seconds_of)
    if not found:
        return _unmeasured(points)
    told = [
        f"{_range(ratios.values())} times as fast for {subject} ({_batches(ratios)})"
        for subject, ratios in _by_subject(found).items()
    ]
    lengths = _listed(str(length) for length in sorted({place.sequence for place in found}))
    sentence = f"Prefill of length {lengths} without padding, FlashAttention-2 against eager attention: {_listed(told)}"
    return Answer(
        _holds(min(found.values()) >= CONSIDERABLE),
        f"{sentence}; {CONSIDERABLE} times everywhere would be considerable{_without(points)}.",
        {f"eager/FA2 {place.subject} batch {place.batch}": ratio for place, ratio in found.items()},
    )


def judge_padding(points: Iterable[Measured]) -> Answer:
    """C2: prefill with padding, eager over FlashAttention-2, at the shortest and at the longest sequence measured.

    "Small" is less than what C1 calls considerable, at the least padding measured: the guide's example has 30 %.
    "Worth having" is more than noise, at every share of padding; and the long gain must exceed the short one, which
    is what the guide tells its reader to expect. Each must be so for every model.
    """
    points = _prefills(points, lambda point: point.padding > 0)
    found = _ratios(points, FLASH, seconds_of)
    lengths = sorted({place.sequence for place in found})
    if len(lengths) < 2:
        return _unmeasured(points)
    figures: dict[str, float] = {}
    told, holds = [], True
    for subject, ratios in _by_subject(found).items():
        short = {place: ratio for place, ratio in ratios.items() if place.sequence == lengths[0]}
        long = [ratio for place, ratio in ratios.items() if place.sequence == lengths[-1]]
        if not short or not long:
            continue
        least = min(short, key=lambda place: place.padding)
        holds &= short[least] < CONSIDERABLE and min(long) > max(NOISE, short[least])
        figures |= {f"short eager/FA2 {subject}": short[least], f"long eager/FA2 {subject}, worst": min(long)}
        told.append(
            f"{_times(short[least])} times as fast at length {lengths[0]} ({_percent(least.padding)} padding) and "
            f"{_range(long)} times at length {lengths[-1]} "
            f"({_span(place.padding for place in ratios if place.sequence == lengths[-1])} padding) for {subject}"
        )
    if not told:
        return _unmeasured(points)
    sentence = f"Prefill with padding, FlashAttention-2 against eager attention: {_listed(told)}"
    asked = f"a short gain below {CONSIDERABLE} and a larger, long one is what the guide foretells"
    return Answer(_holds(holds), f"{sentence}; {asked}{_without(points)}.", figures)


def judge_memory(points: Iterable[Measured]) -> Answer:
    """C3: peak activation memory of a prefill, eager over FlashAttention-2; the largest ratio counts.

    Eager attention holds scores that grow with the square of the length, so the ratio doubles with the length, and
    how far eager gets depends on the device's memory. 10 times at the longest length that both ran is one doubling
    short of 20 and is taken as "up to 20"; less is not.
    """
    points = _prefills(points, lambda point: point.padding == 0)
    found = _ratios(points, FLASH, peak_of)
    if not found:
        return _unmeasured(points, "no peak memory was measured for both")
    best = max(found, key=lambda place: found[place])
    before, after = (peak_of(_by_place(points, backend)[best]) for backend in (EAGER, FLASH))
    told = [
        f"{_times(max(ratios.values()))} times for {subject}"
        for subject, ratios in _by_subject(found).items()
        if subject != best.subject
    ]
    sentence = (
        f"Peak activation memory of a prefill falls by up to {_times(found[best])} times with FlashAttention-2, "
        f"from {before:,.0f} to {after:,.0f} MiB ({_where(best)})"
    )
    others = f", by up to {_listed(told)}" if told else ""
    return Answer(
        _holds(found[best] >= LARGE_SAVING),
        f"{sentence}{others}; {LARGE_SAVING:g} times would bear out “up to 20”{_without(points)}.",
        {f"eager/FA2 {place.subject} length {place.sequence}": ratio for place, ratio in found.items()},
    )


def judge_padded_generation(points: Iterable[Measured]) -> Answer:
    """C4: tokens per second of a batch with padding against one without, FlashAttention-2 beside SDPA.

    Padding may slow anything down; unpadding and padding again is what SDPA does not do. So FlashAttention-2 must
    lose at least a tenth more of its speed than SDPA loses of its own, in every model: less would be lost among
    the launches of the other kernels, which is what most of a decoding step waits for.
    """
    points = [point for point in points if point.workload == "generate"]
    figures: dict[str, float] = {}
    told, holds = [], True
    for subject in _distinct(point.subject for point in points):
        losses = {backend: _loss(points, subject, backend) for backend in (FLASH, SDPA)}
        flash, sdpa = losses[FLASH], losses[SDPA]
        if flash is None or sdpa is None:
            continue
        holds &= flash[0] - sdpa[0] >= SIGNIFICANT_LOSS
        figures |= {f"share lost {FLASH} {subject}": flash[0], f"share lost {SDPA} {subject}": sdpa[0]}
        told.append(f"FlashAttention-2 {_change(flash)} and SDPA {_change(sdpa)} for {subject}")
    if not told:
        return _unmeasured(points)
    asked = f"a loss larger by {_percent(SIGNIFICANT_LOSS)} than that of SDPA would be significant"
    return Answer(
        _holds(holds),
        f"Batched generation with padding against without: {_listed(told)}; {asked}{_without(points)}.",
        figures,
    )


def judge_four_bits(sizes: Sizes) -> Answer:
    """C5: bytes of the linear weights with all that is needed to read them, float32 over FP4.

    8 is 32 bits over 4, and what the guide calls "up to". Each block of 64 weights has a scale in 32 bits, half a
    bit a weight, so that 7.1 is the most that there is without double quantisation: from 7 on the claim holds. The
    whole model, whose embeddings and head stay in 16 bits, is told beside it.
    """
    weights = {form: sizes.linear["float32"] / sizes.linear[form] for form in ("fp4", "nf4") if form in sizes.linear}
    whole = sizes.whole("float32") / sizes.whole("fp4")
    sentence = (
        f"FP4 makes the linear weights of {sizes.subject} {_times(weights['fp4'])} times smaller than float32, scales "
        f"included, and the whole model {_times(whole)} times, {_gib(sizes.whole('float32'))} to "
        f"{_gib(sizes.whole('fp4'))} GiB (computed from one measured layer, {sizes.layers} layers and 16-bit "
        f"embeddings); {NEARLY_EIGHTFOLD:g} times is asked of the weights."
    )
    figures = {f"float32/{form} linear weights": ratio for form, ratio in weights.items()}
    return Answer(_holds(weights["fp4"] >= NEARLY_EIGHTFOLD), sentence, {**figures, "float32/fp4 whole model": whole})


def judge_eight_bits(sizes: Sizes) -> Answer:
    """C6: bytes of the linear weights with their scales, 16 bits and float32 over int8.

    The claim gives numbers, 2 and 4; a scale of 32 bits for each row of thousands of weights costs about a
    thousandth. 2 % leaves room for that and for nothing else.
    """
    half, quarter = (sizes.linear[form] / sizes.linear["int8"] for form in ("bfloat16", "float32"))
    near = all(abs(ratio / wanted - 1) <= SIZE_TOLERANCE for ratio, wanted in ((half, 2), (quarter, 4)))
    whole = sizes.whole("bfloat16") / sizes.whole("int8")
    sentence = (
        f"Int8 makes the linear weights of {sizes.subject} {half:.3f} times smaller than bfloat16 and {quarter:.3f} "
        f"times smaller than float32, scales included; the whole model, computed from one measured layer, becomes "
        f"{_times(whole)} times smaller than in bfloat16."
    )
    figures = {"bfloat16/int8 linear weights": half, "float32/int8 linear weights": quarter}
    return Answer(_holds(near), sentence, {**figures, "bfloat16/int8 whole model": whole})


def judge_quality(found: Sequence[Quality]) -> Answer:
    """C7: mean KL divergence from the unquantised model in float32, and how often both prefer the same token.

    exp(KL) is the factor by which perplexity may grow, so 0.01 nats is one per cent: what papers report as no loss.
    It is asked of the worst fixture and dtype. Beside it stand what the 16-bit dtype itself costs and what four bits
    cost. Agreement is told and not judged: random weights have more near-ties than trained ones.
    """
    int8 = [quality for quality in found if quality.quantisation == "int8" and math.isfinite(quality.kl_mean)]
    broken = [quality for quality in found if quality.quantisation == "int8" and not math.isfinite(quality.kl_mean)]
    if not int8 and not broken:
        return Answer(RowOutcome.UNAVAILABLE, "Not measured: no int8 model ran.")
    figures: dict[str, float] = {}
    told = []
    for name, label in (("int8", "int8"), ("none", "the 16-bit dtype itself"), ("nf4", "nf4"), ("fp4", "fp4")):
        group = [quality for quality in found if quality.quantisation == name and math.isfinite(quality.kl_mean)]
        if group:
            worst = max(quality.kl_mean for quality in group)
            agreement = min(quality.top1_agreement for quality in group)
            figures |= {f"KL mean {name}, worst": worst, f"top-1 agreement {name}, worst": agreement}
            told.append(f"{worst:.2g} nats and {_percent(agreement, 1)} agreement for {label}")
    fixtures = _listed(_distinct(quality.fixture for quality in found))
    sentence = f"Against the model in float32, at worst over {fixtures}: {_listed(told)}"
    if broken:
        sentence += f"; not finite for {_listed(f'{quality.fixture} {quality.dtype}' for quality in broken)}"
    holds = not broken and max(quality.kl_mean for quality in int8) <= ALMOST_NO_DIVERGENCE
    return Answer(_holds(holds), f"{sentence}; up to {ALMOST_NO_DIVERGENCE} nats is almost no effect.", figures)


def judge_pipeline(points: Sequence[Measured], *, same_tokens: bool) -> Answer:
    """C8: seconds of `pipeline()` over seconds of `generate()`, same model, same prompt, taken in turns.

    5 % is more than medians of runs in turns wander. One prompt is judged, where both do the same work; a list of
    prompts, which `pipeline()` by default takes one after another, is told beside it.
    """
    found = _ratios(points, "generate()", seconds_of, "pipeline()")
    single = [ratio for place, ratio in found.items() if place.batch == 1]
    if not single:
        return _unmeasured(points)
    several = [(place, ratio) for place, ratio in found.items() if place.batch > 1]
    told = "".join(f", and {_times(ratio)} times for {place.batch} prompts" for place, ratio in several)
    tokens = "with the same greedy tokens" if same_tokens else "with other greedy tokens"
    sentence = f"`pipeline()` takes {_times(single[0])} times as long as `generate()` for one prompt{told}, {tokens}"
    figures = {f"pipeline/generate, batch {place.batch}": ratio for place, ratio in found.items()}
    return Answer(_holds(single[0] > NOISE), f"{sentence} ({points[0].subject}); {NOISE} would be slower.", figures)


def slower_or_hungrier(points: Iterable[Measured]) -> list[str]:
    """In words, each backend that somewhere needs more time or more memory than eager attention, beyond noise."""
    points = list(points)
    said = []
    for backend in _distinct(point.backend for point in points if point.backend != EAGER):
        for value, word in ((seconds_of, "is slower"), (peak_of, "needs more memory")):
            costs = {place: 1 / ratio for place, ratio in _ratios(points, backend, value).items()}
            worse = {place: cost for place, cost in costs.items() if cost > NOISE}
            if worse:
                worst = max(worse, key=lambda place: worse[place])
                said.append(
                    f"{backend} {word} than eager attention at {len(worse)} of {len(costs)} points, at worst "
                    f"{_times(worse[worst])} times ({_where(worst)})."
                )
    return said


def _ratios(
    points: Iterable[Measured], backend: str, value: Callable[[Measured], float | None], against: str = EAGER
) -> dict[Place, float]:
    """Wherever both were measured, what `against` needs over what `backend` needs."""
    points = list(points)
    others = _by_place(points, against)
    found = {}
    for place, point in _by_place(points, backend).items():
        ours, theirs = value(point), value(others[place]) if place in others else None
        if ours is not None and theirs is not None:
            found[place] = theirs / ours
    return found


def _by_place(points: Iterable[Measured], backend: str) -> dict[Place, Measured]:
    return {
        Place(point.subject, point.workload, point.batch, point.sequence, point.padding): point
        for point in points
        if point.backend == backend
    }


def _prefills(points: Iterable[Measured], wanted: Callable[[Measured], bool]) -> list[Measured]:
    return [point for point in points if point.workload == "prefill" and wanted(point)]


def _by_subject(ratios: Mapping[Place, float]) -> dict[str, dict[Place, float]]:
    found: dict[str, dict[Place, float]] = {}
    for place, ratio in ratios.items():
        found.setdefault(place.subject, {})[place] = ratio
    return found


def _loss(points: Sequence[Measured], subject: str, backend: str) -> tuple[float, float, float] | None:
    """The share of its speed that padding costs a backend, and tokens per second without and with it."""
    rates = {
        point.padding: rate
        for point in points
        if (point.subject, point.backend) == (subject, backend) and (rate := rate_of(point)) is not None
    }
    if 0 not in rates or len(rates) < 2:
        return None
    padded = rates[max(rates)]
    return 1 - padded / rates[0], rates[0], padded


def _unmeasured(points: Iterable[Measured], why: str = "no point ran in both") -> Answer:
    failures = _distinct(f"{point.backend}: {point.failure}" for point in points if point.failure)
    told = f" ({'; '.join(failures[:3])})" if failures else ""
    return Answer(RowOutcome.UNAVAILABLE, f"Not measured: {why}{told}.")


def _without(points: Iterable[Measured]) -> str:
    """Where eager attention or FlashAttention-2 could not be measured, for the end of a sentence."""
    failed = _distinct(
        f"{point.backend} at {_where(point)}: {point.failure}"
        for point in points
        if point.backend in (EAGER, FLASH) and point.failure
    )
    more = f" and {len(failed) - 2} more" if len(failed) > 2 else ""
    return f" (not measured: {'; '.join(failed[:2])}{more})" if failed else ""


def _holds(yes: bool) -> RowOutcome:
    return RowOutcome.HOLDS if yes else RowOutcome.VIOLATED


def _where(place: Measured | Place) -> str:
    padding = f", {_percent(place.padding)} padding" if place.padding else ""
    return f"{place.subject}, batch {place.batch}, length {place.sequence}{padding}"


def _batches(ratios: Iterable[Place]) -> str:
    sizes = sorted({place.batch for place in ratios})
    return f"batch{'es' if len(sizes) > 1 else ''} {', '.join(map(str, sizes))}"


def _change(loss: tuple[float, float, float]) -> str:
    lost, without, with_padding = loss
    word = "loses" if lost >= 0 else "gains"
    return f"{word} {_percent(abs(lost))} ({without:,.0f} to {with_padding:,.0f} tokens/s)"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:,.1f}"


def _range(ratios: Iterable[float]) -> str:
    low, high = min(ratios := list(ratios)), max(ratios)
    return _times(low) if _times(low) == _times(high) else f"{_times(low)} to {_times(high)}"


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def _span(shares: Iterable[float]) -> str:
    low, high = min(shares := list(shares)), max(shares)
    return _percent(low) if _percent(low) == _percent(high) else f"{100 * low:.0f} to {_percent(high)}"


def _gib(count: int) -> str:
    return f"{count / 2**30:.2f}"


def _listed(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))
