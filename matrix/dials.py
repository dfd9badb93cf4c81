"""What attention is made of, as dials with units: how far each is off, and how sure that is.

An error has a direction. A softmax scale that is wrong moves tens of thousands of logits along one known vector, and
rounding does not: projected on it, rounding averages out (Rao's score test; engineers call it a matched filter). What
a dial does to a model is in `conformance/dials/`; this is what its readings mean.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

# A dial is off where its reading is further from 0 than this many of its error bars, and than its material size. Six,
# since a run reads tens of thousands of dials and is to accuse none by chance.
BARS = 6.0
# And than explains so much of the error. What eager attention rounds alike at every position looks like a dial and is
# in no error bar: of 11,383 readings of honest cells on an H100 (six seeds) two lay beyond six bars, as one of BERT's
# heads 0.17 % louder in bfloat16 than eager's, and explained a ten-thousandth. Of 1,027 turned dials that cost none.
SHARE = 0.005
# Other batches of the same kind are rounded otherwise: what is off is off there too, and of readings that add up the
# bar is shorter and without the long tail: of 1,448 readings of 156 honest runs on a CPU (thirteen architectures, three
# seeds, two kernels) the farthest lay at 3.3 bars in eight batches added up, and at 8.2 in one of them; of 2,194 of 236
# on an H200 (two seeds, five kernels and FA2) at 3.3 and 7.8.
BATCHES = 16
BARS_ADDED, SHARE_ADDED = 5.0, 0.001
DOUBT, CLEAR = 2.5, 12.0  # bars between which a reading is to be added to
# A softmax scale off by four of these bars is to be seen; in %, by dtype. Batches are added until its bar is so short.
FINE = {"float16": 0.005, "bfloat16": 0.075}
NAMED = 0.5  # of an error: what explains less of it is not called its cause


@dataclass(frozen=True)
class Knob:
    """What a dial is called, and what it is read in."""

    words: str
    unit: str
    material: float  # in that unit: what is smaller changes nothing that anybody would notice, and never fails a cell
    least: float = -100.0  # that it can be off by
    most: float = 400.0


# What a head says is rounded to the dtype before the heads are put together, in bfloat16 by 0.195 % at most, and of few
# values mostly to one side: an honest math kernel made one of BERT's heads 0.111 ± 0.018 % louder on an H100.
KNOBS = {
    "scale": Knob("softmax scale", "%", 0.01),
    "head_scale": Knob("softmax scale of head 0", "%", 0.02),
    "head_gain": Knob("output of head 0", "%", 0.2),
    "values": Knob("output of every head", "%", 0.2),
    "kv_heads": Knob("repeat in place of repeat_interleave of key/value heads", "%", 0.02, least=0.0, most=100.0),
    "next_token": Knob("weight of the next token, which must not be seen", "%", 0.005, least=0.0, most=100.0),
    "padding": Knob("weight of padding", "%", 0.001, least=0.0, most=100.0),
    "window_beyond": Knob("weight of the first key beyond the window", "%", 0.02, least=0.0, most=100.0),
    "window": Knob("weight of all keys beyond the window", "%", 0.02, least=0.0, most=100.0),
    "window_inside": Knob("lost weight of the last key inside the window", "%", 0.02, least=0.0, most=100.0),
    "documents": Knob("weight of the documents before it in the row", "%", 0.02, least=0.0, most=100.0),
    "sinks": Knob("lost weight of the sinks", "%", 0.02, least=0.0, most=100.0),
    "first_token": Knob("lost weight of the first token", "%", 0.02, least=0.0, most=100.0),
    "softcap": Knob("share of the soft cap of scores that is lost", "%", 0.02, least=0.0, most=100.0),
    "middle_key": Knob("lost weight of the key in the middle", "%", 0.02, least=0.0, most=100.0),
    "rotation": Knob("positions of the keys", "tokens", 0.0002, least=-4.0, most=4.0),
    "alibi": Knob("slopes of ALiBi", "%", 0.02),
    "relative_bias": Knob("relative position bias", "%", 0.02),
    "experts": Knob("share of the normalisation of experts' weights that is lost", "%", 0.02, least=0.0, most=100.0),
    "weights_scale": Knob("scale of quantised weights", "%", 0.1),
    "weights_zero": Knob("zero point of quantised weights, of a step", "%", 1.0, least=-1600.0, most=1600.0),
    "weights_order": Knob(
        "share of quantised weights that stand in their neighbour's place", "%", 0.1, least=0.0, most=100.0
    ),
    "learned": Knob("learned positions", "tokens", 0.0002, least=-1.0, most=1.0),
}


def rule(batches: int) -> tuple[float, float]:
    """Beyond how many bars a reading of so many batches is off, and what share of the error it is to explain."""
    return (BARS, SHARE) if batches == 1 else (BARS_ADDED, SHARE_ADDED)


@dataclass(frozen=True)
class Reading:
    """How far one dial is off in a run, less what eager attention in the same dtype is off by."""

    dial: str
    unit: str
    value: float
    bar: float  # one standard error: the truth lies within 1.96 of them 95 times in 100
    explains: float  # share of the squared error against golden that this dial explains alone
    also: tuple[str, ...] = ()  # dials that do the same to this fixture: which of them it is cannot be told
    batches: int = 1  # whose readings are added up
    call: int = 0  # of attention, from 1, in which alone it is off; 0 where it was asked of all
    calls: int = 0  # that there are, where one of them is

    @property
    def is_off(self) -> bool:
        """Whether it fails a cell. A dial that this release does not know fails none."""
        bars, share = rule(self.batches)
        return self._is_beyond(bars) and self.explains >= share

    @property
    def is_doubtful(self) -> bool:
        """Whether other batches are to say if it is off."""
        return self._is_beyond(DOUBT) and not self._is_beyond(CLEAR)

    def _is_beyond(self, bars: float) -> bool:
        knob = KNOBS.get(self.dial)
        return knob is not None and abs(self.value) > max(bars * self.bar, knob.material)

    def speaks_of(self, dial: str) -> bool:
        """Whether that dial is what it reads, or one that cannot be told from it."""
        return dial in (self.dial, *self.also)

    @property
    def name(self) -> str:
        """What the dial is called, and those that it cannot be told from."""
        return " or ".join(KNOBS[name].words if name in KNOBS else name for name in (self.dial, *self.also))

    @property
    def words(self) -> str:
        """The same, and where it is off if not everywhere."""
        return self.name + (f" in call {self.call} of {self.calls} alone" if self.call else "")

    @property
    def said(self) -> str:
        """The reading in words: `softmax scale +5.00 ± 0.03 %`."""
        shown = digits(self.bar, self.value)
        summed = "" if self.batches == 1 else f" in {self.batches} batches"
        return f"{self.words} {self.value:+.{shown}f} ± {self.bar:.{shown}f} {self.unit}{summed}"

    @property
    def share(self) -> str:
        """What it explains of the error, in percent: `99 %`."""
        return percent(self.explains)


def batches_asked(readings: Iterable[Reading], dtype: str) -> int:
    """Of how many batches these are to be, that were read of some: all if one is doubtful, else by the softmax scale's
    bar."""
    asked = 1
    for one in readings:
        if one.is_doubtful:
            return BATCHES
        if one.dial == "scale" and dtype in FINE and math.isfinite(one.bar):
            asked = math.ceil(one.batches * (one.bar / FINE[dtype]) ** 2)
    return min(BATCHES, asked)


def added_up(batches: Sequence[Sequence[Reading]]) -> tuple[Reading, ...]:
    """The readings of several batches as one: their mean, with the bar of a mean.

    As the first says stays what is off there beyond doubt, and what was not read of every batch, as a dial that another
    batch cannot tell from a second one, or lays to one call of attention.
    """
    first, *others = batches
    found = [{(one.dial, one.also, one.call): one for one in batch} for batch in others]

    def summed(one: Reading) -> Reading:
        key = one.dial, one.also, one.call
        same = [batch[key] for batch in found if key in batch]
        is_clear = one.is_off and not one.is_doubtful
        return one if is_clear or len(same) < len(found) else _as_one([one, *same])

    return tuple(summed(one) for one in first)


def _as_one(readings: Sequence[Reading]) -> Reading:
    count = len(readings)
    return replace(
        readings[0],
        value=sum(one.value for one in readings) / count,
        bar=math.hypot(*(one.bar for one in readings)) / count,
        explains=sum(one.explains for one in readings) / count,
        batches=count,
    )


def off(readings: Iterable[Reading]) -> tuple[Reading, ...]:
    """The dials that are off, the one that explains most of the error first."""
    return tuple(sorted((one for one in readings if one.is_off), key=lambda one: -one.explains))


def cause(readings: Iterable[Reading]) -> Reading | None:
    """The dial that an error is laid to, or None: it is off, and explains more than half."""
    return next((one for one in off(readings) if one.explains > NAMED), None)


def explanation(readings: Sequence[Reading]) -> tuple[str, ...]:
    """What explains an error, in words: the dials that are off, and whether none of them is its cause.

    Empty where nothing was read: then nobody knows.
    """
    found = tuple(f"{one.said}: explains {one.share} of the error" for one in off(readings))
    if not readings or cause(readings) is not None:
        return found
    return (*found, "no dial explains more than half of the error" if found else "no dial explains the error")


def moved(before: Reading, after: Reading) -> bool:
    """Whether a dial reads otherwise in a second run, by what makes it off in one: the bars are those of both.

    That one of the two explains something of its error is asked here too: what eager attention rounds alike at every
    position is another in another release.
    """
    knob = KNOBS.get(before.dial)
    step = abs(after.value - before.value)
    if knob is None or not math.isfinite(step):
        return False
    bars, share = rule(min(before.batches, after.batches))
    significant = step > max(bars * math.hypot(before.bar, after.bar), knob.material)
    return significant and max(before.explains, after.explains) >= share


def percent(share: float) -> str:
    """A share in percent; of less than one a digit more."""
    return f"{100 * share:.{0 if share >= 0.01 else 1}f} %"


def digits(bar: float, value: float) -> int:
    """Digits behind the point that show two of the error bar's, or of the value where there is no bar."""
    size = bar or abs(value)
    if not size or not math.isfinite(size):
        return 2
    return min(9, max(0, 1 - math.floor(math.log10(size))))
