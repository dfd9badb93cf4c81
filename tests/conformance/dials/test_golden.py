"""Many dials are turned in one pass, and do what each does in a pass of its own."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch

from conformance.dial_power import Laboratory, Share
from conformance.dials import DIALS
from conformance.dials.catalogue import Model
from conformance.dials.golden import Golden, Remembered, Turn, Turning
from matrix.axes import Dtype
from matrix.stack import Device
from tests.builders import ARCHITECTURES, make_stack

NAMES = ("llama", "mistral", "t5", "falcon_alibi", "mixtral")


def loaded(name: str, cache: Path) -> Model:
    share = Share(name, Dtype.FLOAT32, 0, make_stack(device=Device.CPU), cache)
    return Laboratory(ARCHITECTURES[name], share).loaded()


def batch_of(name: str, rows: int = 4, length: int = 24) -> dict[str, torch.Tensor]:
    tokens = torch.arange(rows * length).reshape(rows, length) % 200
    mask = torch.ones_like(tokens)
    mask[1, :5] = 0
    batch = {"input_ids": tokens, "attention_mask": mask}
    return batch | ({"decoder_input_ids": tokens.flip(1)} if name == "t5" else {})


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each pass of golden had."""
    seen: list[int] = []
    usual = Golden.__init__.__globals__["forward"]

    def forward(model: Model, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(len(batch["input_ids"]))
        found: torch.Tensor = usual(model, batch)
        return found

    monkeypatch.setitem(Golden.__init__.__globals__, "forward", forward)
    return seen


def turns_of(model: Model) -> list[Turn]:
    """Each dial that the model has, in all calls of attention and in the second alone."""
    dials = [dial for dial in DIALS.values() if dial.suits(model)]
    far = [Turn(dial, dial.marks[-1]) for dial in dials]
    return far + [Turn(dial, dial.step, 1) for dial in dials if dial.answers is not None]


@pytest.mark.parametrize("name", NAMES)
def test_in_one_pass_each_does_what_it_does_alone(name: str, cache: Path, passes: list[int]) -> None:
    model = loaded(name, cache)
    turns, golden = turns_of(model), Golden(model, batch_of(name), "bfloat16")
    together = list(golden.turned(turns))
    assert max(passes) > 4 * 8
    alone = [moved for turn in turns for moved in golden.turned([turn])]
    for turn, one, other in zip(turns, together, alone, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=2e-5), turn.dial.name
        assert float(one.norm()) == pytest.approx(float(other.norm()), rel=1e-3, abs=1e-4), turn.dial.name
    assert sum(float(one.norm()) > 1e-3 for one in together) > 5


def test_a_pass_holds_no_more_than_it_may(cache: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = loaded("llama", cache), batch_of("llama")
    monkeypatch.setitem(Golden.__init__.__globals__, "AT_ONCE", 3 * batch["input_ids"].numel() * 256)
    golden = Golden(model, batch, "bfloat16")
    passes.clear()
    dials = [DIALS[name] for name in ("scale", "padding", "rotation", "values", "learned", "first_token")]
    dials = [dial for dial in dials if dial.suits(model)]
    assert len(list(golden.turned(Turn(dial, dial.step) for dial in dials))) == 5
    assert passes == [12, 12, 4]


@pytest.mark.parametrize("more", [{"pixel_values": torch.zeros(4, 3)}, {"position_ids": torch.zeros(3, 4, 24)}])
def test_what_is_no_batch_of_tokens_alone_is_turned_one_by_one(more: dict[str, torch.Tensor], cache: Path) -> None:
    model, batch = loaded("llama", cache), batch_of("llama")
    golden = Golden(model, batch, "bfloat16")
    shape = torch.Size([4, 24, 256])
    assert golden._how_many_at_once(shape) > 1
    golden._batch = batch | more
    assert golden._how_many_at_once(shape) == 1


def test_calls_of_other_rows_are_turned_one_by_one(
    cache: Path, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = loaded("llama", cache), batch_of("llama")
    golden = Golden(model, batch, "bfloat16")
    turns = [Turn(DIALS["scale"], 1.0), Turn(DIALS["values"], 1.0)]
    expected = [moved for turn in turns for moved in golden.turned([turn])]
    monkeypatch.setitem(Golden.__init__.__globals__, "rows_of", lambda batch: 3)
    passes.clear()
    assert all(map(torch.equal, golden.turned(turns), expected))
    assert passes == [12, 4, 4]
    passes.clear()
    assert all(map(torch.equal, golden.turned(turns), expected))
    assert passes == [4, 4], "and nothing else is tried again"


def counting(asked: list[Turn]) -> Turning:
    def turning(turns: Iterable[Turn]) -> Iterator[torch.Tensor]:
        for turn in turns:
            asked.append(turn)
            yield torch.tensor(turn.by)

    return turning


def test_what_is_known_is_not_asked_again() -> None:
    asked: list[Turn] = []
    known = Remembered(counting(asked))
    one, other = Turn(DIALS["scale"], 1.0), Turn(DIALS["scale"], 2.0, 1)
    assert list(known([one, other, one])) == [1.0, 2.0, 1.0]
    assert list(known([other, other._replace(call=2)])) == [2.0, 2.0]
    assert asked == [one, other, other._replace(call=2)]


def test_no_more_is_known_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked the longest ago is forgotten, and asked anew: that changes no answer."""
    asked: list[Turn] = []
    known = Remembered(counting(asked))
    monkeypatch.setitem(Remembered.__call__.__globals__, "REMEMBERED", 2 * torch.tensor(1.0).nbytes)
    one, two, three = (Turn(DIALS["scale"], by) for by in (1.0, 2.0, 3.0))
    assert list(known([one, two])) == [1.0, 2.0]
    assert list(known([one, three])) == [1.0, 3.0]
    assert known.nbytes == 2 * torch.tensor(1.0).nbytes
    assert list(known([one, two])) == [1.0, 2.0]
    assert asked == [one, two, three, two]
    assert list(known([one, two, three])) == [1.0, 2.0, 3.0], "more at once than it keeps"


def test_what_is_turned_elsewhere_is_not_turned_in_a_call() -> None:
    with pytest.raises(ValueError, match="learned is not turned in calls"):
        Turn(DIALS["learned"], 1.0, 1).turning(None)
