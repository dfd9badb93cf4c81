"""What one cell leaves behind is put back, and said of it."""

import contextlib
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.gpt2 import modeling_gpt2

from conformance.bench import Bench
from conformance.faults import Fault
from conformance.state import kept
from matrix.cell import parse_cell
from matrix.expectation import SUPPORTED
from matrix.stack import Device
from matrix.verdict import Verdict, judge
from tests.builders import ARCHITECTURES

SDPA = torch.nn.functional.scaled_dot_product_attention
NEXT = ["gpt2-float32-sdpa-left-prefill", "gpt2-float32-sdpa-flash-left-prefill", "gpt2-bfloat16-eager-left-generate"]


def ten_percent_more(*args: Any, **kwargs: Any) -> torch.Tensor:
    return 1.1 * SDPA(*args, **kwargs)


def patch_attention() -> None:
    torch.nn.functional.scaled_dot_product_attention = ten_percent_more


def patch_module() -> None:
    modeling_gpt2.eager_attention_forward = ten_percent_more


def patch_class() -> None:
    modeling_gpt2.GPT2MLP.forward = lambda self, hidden_states: hidden_states


LEAKS: dict[str, Callable[[], Any]] = {
    "default device": lambda: torch.set_default_device("meta"),
    "default dtype": lambda: torch.set_default_dtype(torch.float64),
    "flash kernel of SDPA": lambda: torch.backends.cuda.enable_flash_sdp(False),
    "math kernel of SDPA": lambda: torch.backends.cuda.enable_math_sdp(False),
    "torch.nn.functional.scaled_dot_product_attention": patch_attention,
    "transformers.models.gpt2.modeling_gpt2.eager_attention_forward": patch_module,
    "GPT2MLP.forward": patch_class,
    "precision of float32 products": lambda: torch.set_float32_matmul_precision("medium"),
}


@pytest.mark.parametrize("name", LEAKS)
def test_the_next_cells_do_not_answer_for_it(cache: Path, name: str) -> None:
    @contextlib.contextmanager
    def leaking(model: Any) -> Iterator[None]:
        yield
        LEAKS[name]()

    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=cache)
    assert bench.run(parse_cell(NEXT[0])).evidence.leaks == ()
    bench.fault = Fault("leak", "a cell that leaves something behind", bool, running=leaking)
    left = bench.run(parse_cell(NEXT[0])).evidence.leaks
    assert [leak.partition(":")[0] for leak in left] == [name]
    bench.fault = None
    for cell_id in NEXT:
        cell = parse_cell(cell_id)
        observation = bench.run(cell)
        judgement = judge(cell, ARCHITECTURES["gpt2"], observation, SUPPORTED, Device.CPU)
        assert judgement.verdict is Verdict.SUPPORTED, judgement.reason
        assert observation.evidence.leaks == ()


def test_what_is_raised_within_is_raised_and_state_put_back_all_the_same() -> None:
    changed: list[str] = []

    def leave() -> None:
        nonlocal changed
        with kept() as changed:
            torch.set_default_dtype(torch.bfloat16)
            raise ValueError("no such attention")

    with pytest.raises(ValueError, match="no such attention"):
        leave()
    assert changed == ["default dtype: torch.float32 -> torch.bfloat16"]
    assert torch.get_default_dtype() is torch.float32


def test_variables_that_are_gone_or_changed_come_back_and_new_ones_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_PATH", "/mine")
    monkeypatch.setenv("A_SECRET", "hidden")
    monkeypatch.setenv("NEW", "")
    del os.environ["NEW"]
    with kept() as changed:
        os.environ["A_PATH"] = "/theirs"
        del os.environ["A_SECRET"]
        os.environ["NEW"] = "told"
    assert changed == ["environment: 2 variables, such as A_PATH"]
    assert [os.environ[name] for name in ("A_PATH", "A_SECRET", "NEW")] == ["/mine", "hidden", "told"]


def test_the_working_directory_is_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    with kept() as changed:
        os.chdir("other")
        os.rmdir(tmp_path / "other")
    assert (changed, os.getcwd()) == (["working directory"], str(tmp_path))


LATER = "transformers.models.gpt2.modeling_later"


def later_class() -> type:
    return type("Later", (), {"forward": lambda self: 1, "__module__": LATER})


def later(**given: Any) -> Any:
    """A module of a library's."""
    module: Any = types.ModuleType(LATER)
    vars(module).update(given)
    sys.modules[LATER] = module
    return module


@pytest.mark.parametrize("how", ["another module", "another class", "one more function"])
def test_what_came_between_two_cells_is_watched_as_well(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setitem(sys.modules, LATER, None)  # type: ignore[arg-type]
    module = later(Later=later_class())
    with kept() as changed:
        pass
    assert changed == []
    if how == "another module":
        module = later(Later=later_class())
    elif how == "another class":
        module.Later = later_class()
    else:
        module.more = later_class
    with kept() as changed:
        if how == "one more function":
            module.more = ten_percent_more
        else:
            module.Later.forward = lambda self: 2
    assert len(changed) == 1
    assert module.Later().forward() == 1
