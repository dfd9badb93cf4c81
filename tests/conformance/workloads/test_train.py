"""Training cells: labels, dropout, gradients in units of their own size, and faults that only a backward pass shows."""

from pathlib import Path

import pytest
import torch

from conformance.bench import Bench
from conformance.models.batches import make_batch
from conformance.workloads.train import train_step, with_labels, without_dropout
from matrix.cell import parse_cell
from matrix.expectation import SUPPORTED
from matrix.stack import Device
from matrix.verdict import Judgement, Verdict, judge
from tests.builders import ARCHITECTURES

SDPA = torch.nn.functional.scaled_dot_product_attention


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=tmp_path_factory.mktemp("fixtures"))


def judged(bench: Bench, cell_id: str) -> Judgement:
    cell = parse_cell(cell_id)
    return judge(cell, ARCHITECTURES[cell.architecture], bench.run(cell), SUPPORTED, Device.CPU)


@pytest.mark.parametrize(
    "cell_id",
    [
        "llama-float32-sdpa-right-train",
        "opt-bfloat16-sdpa-left-train",  # dropout of 0.1, which must not be there
        "bert-float16-sdpa-left-train",
        "t5-float32-eager-right-train",
    ],
)
def test_honest_training_is_supported(bench: Bench, cell_id: str) -> None:
    assert judged(bench, cell_id).verdict is Verdict.SUPPORTED


def scaled(factor: float):
    def attention(query, key, value, *args, scale=None, **kwargs):
        scale = (query.shape[-1] ** -0.5 if scale is None else scale) * factor
        return SDPA(query, key, value, *args, scale=scale, **kwargs)

    return attention


def without_gradient_of_values(query, key, value, *args, **kwargs):
    """Right numbers, and a backward pass that forgets one of its three."""
    return SDPA(query, key, value.detach(), *args, **kwargs)


@pytest.mark.parametrize(
    ("fault", "cell_id", "said"),
    [
        (scaled(1.001), "llama-float32-sdpa-right-train", "gradients mean"),
        (scaled(1.05), "llama-bfloat16-sdpa-left-train", "gradients mean"),
        (without_gradient_of_values, "llama-float32-sdpa-right-train", "gradients"),
        (without_gradient_of_values, "llama-bfloat16-sdpa-right-train", "gradients"),
    ],
)
def test_a_fault_shows_in_the_gradients(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, fault, cell_id: str, said: str
) -> None:
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fault)
    judgement = judged(bench, cell_id)
    assert judgement.verdict is Verdict.INACCURATE
    assert said in judgement.reason
    if fault is without_gradient_of_values:
        assert "logits m" not in judgement.reason  # a prefill would not have seen it


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_neither_padding_nor_a_rows_first_token_is_predicted(padding: str) -> None:
    batch = make_batch("prefill", padding, 256, 0)
    labels = with_labels(batch)["labels"]
    real = batch["attention_mask"].bool()
    first = real & (batch["attention_mask"].cumsum(-1) == 1)
    assert ((labels == -100) == (~real | first)).all()
    assert (labels[real & ~first] == batch["input_ids"][real & ~first]).all()


def test_no_dropout_is_left() -> None:
    class Attention(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention_dropout = 0.1
            self.inner = torch.nn.Dropout(0.3)

    model = without_dropout(Attention().eval())
    assert model.training
    assert (model.attention_dropout, model.inner.p) == (0.0, 0.0)


def test_a_step_leaves_no_gradient_behind() -> None:
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(3))

        def forward(self, input_ids, attention_mask, labels):
            logits = input_ids * self.weight
            return type("Output", (), {"logits": logits, "loss": logits.sum()})

    model, batch = Model(), {"input_ids": torch.ones(2, 3), "attention_mask": torch.ones(2, 3)}
    with torch.no_grad():
        logits, gradients = train_step(model, batch)
    assert gradients["weight"].tolist() == [2.0, 2.0, 2.0]
    assert not logits.requires_grad
    assert model.weight.grad is None


def test_a_reference_trains_the_weights_of_its_cell(tmp_path: Path) -> None:
    """Twice the same: nothing of one step is left in the next."""
    bench = Bench(device=Device.CPU, architectures=ARCHITECTURES, fixture_cache=tmp_path)
    cell = parse_cell("gpt2-float32-eager-right-train")
    first, second = (bench.run(cell).comparisons for _ in range(2))
    assert first == second
    assert [comparison.name for comparison in first] == ["logits", "gradients"]
