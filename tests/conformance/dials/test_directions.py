"""Dials of real models: what is turned is read, within its bar, and nothing else is off."""

import contextlib
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from conformance.dial_power import Laboratory, Share
from conformance.dials import DIALS
from conformance.dials.catalogue import answered, parts
from conformance.dials.directions import Direction, Directions, blocks, rows
from conformance.dials.golden import Remembered, Turn
from conformance.dials.projections import PROJECTED
from conformance.dials.weights import WEIGHTS
from conformance.models.outputs import forward
from matrix.axes import Attention, Dtype
from matrix.dials import KNOBS, off
from matrix.errors import UsageError
from matrix.stack import Device
from reports.dials import DialTrial
from tests.builders import ARCHITECTURES, ROOT, make_stack

SPREAD = ("llama", "mistral", "gpt2", "t5", "falcon_alibi", "qwen3_moe")  # together they have all dials
SURELY = 4.0  # error bars: what is here asked once is not asked a hundred times


@functools.cache
def laboratory(name: str, cache: Path, dtype: Dtype = Dtype.BFLOAT16) -> Laboratory:
    """One for all tests: its directions are made once."""
    return Laboratory(ARCHITECTURES[name], Share(name, dtype, 0, make_stack(device=Device.CPU), cache))


def turned(name: str, cache: Path, dial: str, size: float, dtype: Dtype = Dtype.BFLOAT16) -> DialTrial:
    own = laboratory(name, cache, dtype)
    model = own.loaded()
    return own.trial(own.cell(), model, functools.partial(DIALS[dial].turning, model, size), dial=dial, size=size)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fixtures")


@pytest.mark.parametrize(
    ("name", "dtype"), [("llama", Dtype.FLOAT32), ("gpt2", Dtype.FLOAT16), ("bert", Dtype.BFLOAT16)]
)
def test_of_an_honest_backend_no_dial_is_off(name: str, dtype: Dtype, cache: Path) -> None:
    own = laboratory(name, cache, dtype)
    found = own.trial(own.cell(), own.loaded()).readings
    assert len(found) > 5
    assert off(found) == ()


@pytest.mark.parametrize(
    ("name", "dial", "size"),
    [
        ("llama", "scale", 1.0),
        ("llama", "scale", 50.0),
        ("llama", "kv_heads", 0.5),
        ("llama", "rotation", 0.01),
        ("llama", "next_token", 0.1),
        ("llama", "next_token", 100.0),
        ("llama", "padding", 10.0),
        ("llama", "values", 2.0),
        ("mistral", "window_beyond", 5.0),
        ("mistral", "window_inside", 10.0),
        ("mistral", "window", 100.0),
        ("mistral", "documents", 100.0),
        ("gpt2", "documents", 20.0),
        ("gpt2", "head_gain", 2.0),
        ("gpt2", "head_scale", 5.0),
        ("gpt2", "learned", 0.02),
        ("gpt2", "first_token", 20.0),
        ("bert", "middle_key", 100.0),
        ("t5", "relative_bias", 5.0),
        ("falcon_alibi", "alibi", 10.0),
        ("codegen", "rotation", 0.05),
        ("qwen3_moe", "experts", 100.0),
    ],
)
def test_what_is_turned_is_named_first_and_its_size_is_read(name: str, dial: str, size: float, cache: Path) -> None:
    trial = turned(name, cache, dial, size)
    assert trial.named
    assert trial.own is not None
    assert abs(trial.own.value - size) <= SURELY * trial.own.bar


def test_what_hardly_follows_from_its_size_is_looked_for_in_what_is_far_off_alone(cache: Path) -> None:
    """Of these weights some tokens turn to the next one entirely, however little of its weight they are given."""
    own = Laboratory(ARCHITECTURES["gpt2"], Share("gpt2", Dtype.FLOAT16, 131, make_stack(device=Device.CPU), cache))
    model, dial = own.loaded(), DIALS["next_token"]
    assert not any(one.dial == "next_token" for one in own.trial(own.cell(), model).readings)
    trial = own.trial(own.cell(), model, lambda: dial.turning(model, 2.0), dial="next_token", size=2.0)
    assert trial.named
    assert trial.own is not None
    assert trial.own.value == pytest.approx(2.0, abs=0.05)


def test_below_the_bounds_of_its_size_an_error_is_read(cache: Path) -> None:
    """1 % of softmax scale in bfloat16, which moves logits by less than rounding does."""
    trial = turned("llama", cache, "scale", 1.0)
    assert not trial.seen
    assert trial.is_read


@pytest.mark.parametrize(("name", "dtype", "size"), [("gpt2", Dtype.FLOAT16, 0.02), ("bert", Dtype.BFLOAT16, 0.3)])
def test_what_one_batch_cannot_tell_several_do(name: str, dtype: Dtype, size: float, cache: Path) -> None:
    trial = turned(name, cache, "scale", size, dtype)
    assert trial.is_read
    assert trial.own is not None
    assert trial.own.batches > 1
    assert abs(trial.own.value - size) <= SURELY * trial.own.bar


@pytest.mark.parametrize("dial", sorted(set(DIALS) - {"softcap"}))  # which no model has that SDPA takes
def test_a_dial_at_0_changes_nothing_and_is_put_back(dial: str, cache: Path) -> None:
    models = ((name, laboratory(name, cache, Dtype.FLOAT32).loaded()) for name in SPREAD)
    name, model = next((name, model) for name, model in models if DIALS[dial].suits(model))
    tokens = torch.arange(40).reshape(2, 20)
    batch = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    if name == "t5":
        batch["decoder_input_ids"] = tokens
    with torch.no_grad():
        with answered(model):
            straight = forward(model, batch)
        with DIALS[dial].turning(model, 0.0):
            assert torch.allclose(forward(model, batch), straight, atol=1e-5)
        with DIALS[dial].turning(model, 0.5):
            pass
        with answered(model):
            assert torch.equal(forward(model, batch), straight)


@pytest.mark.parametrize(("name", "turns"), [("qwen3_moe", True), ("glm4_moe", False)])
def test_a_router_that_chooses_by_a_sigmoid_is_left_as_it_is(name: str, turns: bool, cache: Path) -> None:
    model = laboratory(name, cache, Dtype.FLOAT32).loaded()
    batch = {"input_ids": torch.arange(40).reshape(2, 20)}
    with torch.no_grad():
        with answered(model):
            straight = forward(model, batch)
        with DIALS["experts"].turning(model, 100.0):
            assert torch.equal(forward(model, batch), straight) is not turns


def test_a_soft_cap_is_put_where_sdpa_has_none_and_lost_by_shares(cache: Path) -> None:
    model = laboratory("llama", cache, Dtype.FLOAT32).loaded()
    batch = {"input_ids": torch.arange(40).reshape(2, 20)}
    dial, found = DIALS["softcap"], {}
    assert not dial.suits(model)
    with torch.no_grad():
        plain = forward(model, batch)
        model.config.attn_logit_softcapping = 1.0
        assert dial.suits(model)
        for lost in (0.0, 50.0, 100.0):
            with dial.turning(model, lost):
                found[lost] = forward(model, batch)
        with answered(model):
            assert torch.allclose(forward(model, batch), found[0.0], atol=1e-5)
    assert torch.allclose(found[100.0], plain, atol=1e-4)
    off = {lost: float((logits - plain).abs().mean()) for lost, logits in found.items()}
    assert off[0.0] > 1.5 * off[50.0] > 15 * off[100.0]


def test_what_explains_only_is_read_where_it_is_far_off(cache: Path) -> None:
    near = turned("mistral", cache, "scale", 1.0)
    assert [one.dial for one in near.readings if DIALS[one.dial].explains_only] == []
    far = turned("mistral", cache, "window", 100.0)
    assert next(one.dial for one in off(far.readings)) == "window"


def test_every_dial_has_its_words() -> None:
    assert DIALS.keys() | PROJECTED.keys() | WEIGHTS.keys() == KNOBS.keys()


def test_what_neither_answers_through_sdpa_nor_projects_by_itself_has_no_dials(cache: Path) -> None:
    own = laboratory("bloom", cache)
    assert not list(own.honest())
    with pytest.raises(UsageError, match="bloom does not answer through SDPA"):
        own.trial(own.cell(Attention.EAGER), own.loaded(Attention.EAGER))


@pytest.mark.parametrize(
    ("name", "suits"), [("llama", True), ("mistral", True), ("falcon_alibi", False), ("t5", False), ("bert", False)]
)
def test_documents_are_told_apart_where_nothing_counts_through_them(name: str, suits: bool, cache: Path) -> None:
    model = laboratory(name, cache).loaded()
    assert DIALS["documents"].suits(model) is suits
    model.config.get_text_config().attention_chunk_size = 8
    assert not DIALS["documents"].suits(model), "a chunk begins at a place of the row"


def test_parts_are_found_by_the_last_part_of_their_name(cache: Path) -> None:
    assert len(parts(laboratory("gpt2", cache).loaded(), "wpe")) == 1


def test_a_worker_starts_without_them() -> None:
    code = "import sys, conformance.bench; sys.exit(any(name.startswith('conformance.dials') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("name", "dial", "size", "call", "calls"),
    [
        ("llama", "scale", 30.0, 0, 2),
        ("llama", "kv_heads", 100.0, 1, 2),
        ("mistral", "window", 100.0, 1, 2),
        ("bert", "middle_key", 100.0, 1, 2),
        ("falcon_alibi", "alibi", -100.0, 0, 2),
        ("t5", "relative_bias", 50.0, 4, 6),
        ("llama", "scale", 30.0, None, 0),
        ("gpt2", "learned", 1.0, None, 0),
    ],
)
def test_what_is_turned_in_one_call_of_attention_is_laid_to_it_alone(
    name: str, dial: str, size: float, call: int | None, calls: int, cache: Path
) -> None:
    own = laboratory(name, cache, Dtype.FLOAT32)
    model = own.loaded()

    @contextlib.contextmanager
    def turning() -> Iterator[None]:
        with Turn(DIALS[dial], size, call).turning(model):
            yield

    first = off(own.trial(own.cell(), model, turning).readings)[0]
    assert (first.dial, first.call, first.calls) == (dial, 0 if call is None else call + 1, calls)
    assert first.value == pytest.approx(size, rel=1e-3)
    assert first.said.startswith(first.words)
    assert first.words.endswith(f" in call {first.call} of {calls} alone") == bool(calls)


def directions_of_two_rows() -> Directions:
    """Two rows of ten places, of which the second's first two are padding; each place has its number as its slope."""
    attended = torch.ones(2, 10, dtype=torch.bool)
    attended[1, :2] = False
    slope = torch.arange(20.0, dtype=torch.float64)[attended.flatten()][:, None]
    one = Direction(DIALS["scale"], 1.0, slope, torch.zeros_like(slope), 0.0)
    none = Direction(DIALS["padding"], 1.0, torch.where(slope < 5, slope, 0.0), torch.zeros_like(slope), 0.0)
    return Directions(
        (one, none),
        attended,
        (blocks(attended), rows(attended)),
        1,
        Remembered(lambda turns: (turn.by * slope for turn in turns)),
        2,
    )


def test_directions_of_some_places_come_in_the_order_in_which_they_are_asked_for() -> None:
    whole = directions_of_two_rows()
    asked = torch.tensor([19, 7, 8, 12])
    some = whole.where(asked, torch.ones(1, 4, dtype=torch.bool))
    assert some is not None
    assert [one.dial.name for one in some.found] == ["scale"], "the other moves none of these"
    assert (
        some.found[0].slope.flatten().tolist()
        == next(some.turned([Turn(DIALS["scale"], 1.0)])).flatten().tolist()
        == [19, 7, 8, 12]
    )
    in_blocks, in_rows = (group.tolist() for group in some.groups)
    assert in_rows == [1, 0, 0, 1]
    assert in_blocks[1] != in_blocks[2], "eight neighbours of one row are one block"
    assert some.seen(torch.arange(4.0).reshape(1, 4, 1)).flatten().tolist() == [0, 1, 2, 3]


def test_directions_of_all_places_are_those_and_of_padding_there_are_none() -> None:
    whole = directions_of_two_rows()
    places = torch.arange(20)[whole.attended.flatten()]
    assert whole.where(places, whole.attended) is whole
    assert whole.where(torch.tensor([3, 11]), torch.ones(1, 2, dtype=torch.bool)) is None
