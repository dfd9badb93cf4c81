"""What goes into a model."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from conformance.models.batches import (
    FEWEST_TOKENS,
    LENGTHS,
    batch_for,
    checked,
    extended,
    judged,
    make_batch,
    one_row,
    rolled,
)
from conformance.models.loading import Source
from tests.builders import ARCHITECTURES


@pytest.mark.parametrize("workload", sorted(LENGTHS))
@pytest.mark.parametrize(("padding", "column"), [("left", 0), ("right", -1)])
def test_padded_batches_are_uneven_in_every_row(workload: str, padding: str, column: int) -> None:
    batch = make_batch(workload, padding, 256, 0)
    assert batch["attention_mask"].sum(1).tolist() == list(LENGTHS[workload])
    assert batch["attention_mask"][1:, column].sum() == 0
    assert (batch["input_ids"][batch["attention_mask"] == 0] == 0).all()
    assert (batch["input_ids"][batch["attention_mask"] == 1] >= 4).all()


def test_teacher_forcing_uses_the_positions_of_generation() -> None:
    batch = make_batch("generate", "left", 256, 0)
    new = torch.full((4, 3), 7)
    forced = extended(batch, torch.cat([batch["input_ids"], new], dim=1), True)
    assert forced["input_ids"].shape == (4, 50)
    assert forced["position_ids"][3, -1] == 7 + 2 - 1
    assert forced["position_ids"][0].tolist() == list(range(50))


class Tokenizer:
    """What transformers invents for a checkpoint without tokenizer files, or an honest one."""

    pad_token = "<pad>"

    def __init__(self, tokens: Callable[[str], list[int]]) -> None:
        self.tokens = tokens

    def __call__(self, texts: str | list[str], **_: Any) -> dict[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": self.tokens(texts)}
        rows = [torch.tensor(self.tokens(text)) for text in texts]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return {"input_ids": padded, "attention_mask": (padded != 0).long()}


@pytest.mark.parametrize(
    ("tokens", "used"),
    [
        (lambda text: [], False),
        (lambda text: [1], False),
        (lambda text: [3] * len(text.split()), False),
        (lambda text: [1, *(5 + len(word) % 3 for word in text.split())], False),
        (lambda text: [5 + ord(letter) for letter in text], True),
    ],
    ids=["none", "one <bos>", "all unknown", "three kinds", "letters"],
)
@pytest.mark.parametrize("padding", ["none", "left"])
def test_a_model_is_judged_on_text_only_where_its_tokenizer_tells_words_apart(
    monkeypatch: pytest.MonkeyPatch, tokens: Callable[[str], list[int]], used: bool, padding: str
) -> None:
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: Tokenizer(tokens))
    source = Source(ARCHITECTURES["llama"], "/models/mine", own=True)
    config = transformers.LlamaConfig(vocab_size=256)
    batch = batch_for(source, config, "prefill", padding, 0)
    invented = make_batch("prefill", padding, 256, 0, seed=1)
    assert torch.equal(batch["input_ids"], invented["input_ids"]) is not used
    assert len(batch["input_ids"][batch["attention_mask"].bool()].unique()) >= FEWEST_TOKENS


def test_rows_of_the_same_tokens_say_too_little_whatever_the_decoder_is_given() -> None:
    batch = make_batch("prefill", "none", 256, 0, decoder_tokens=5)
    assert checked(batch, "none") is batch
    batch["input_ids"] = batch["input_ids"][:1].expand(4, -1).clone()
    with pytest.raises(RuntimeError, match="too few different tokens"):
        checked(batch, "none")


def test_pictures_that_are_all_the_same_say_too_little() -> None:
    with pytest.raises(RuntimeError, match="too few different rows"):
        checked({"pixel_values": torch.ones(4, 3, 8, 8)}, "none")


def test_what_belongs_to_a_row_goes_with_it() -> None:
    patches = torch.arange(8.0)[:, None]
    batch = {"input_ids": torch.arange(4)[:, None], "pixel_values": patches, "interpolate": True}
    assert one_row(batch, 2)["pixel_values"].flatten().tolist() == [4.0, 5.0]
    assert one_row(batch, 2)["interpolate"] is True
    assert rolled(batch)["pixel_values"].flatten().tolist() == [6.0, 7.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert rolled(batch)["input_ids"].flatten().tolist() == [3, 0, 1, 2]


def test_frames_that_hear_the_padding_of_sound_are_not_judged() -> None:
    mask = torch.ones(2, 100, dtype=torch.int64)
    mask[1, 50:] = 0
    batch = {"input_values": torch.ones(2, 100), "attention_mask": mask}
    assert judged(batch, torch.zeros(2, 10, 3)).sum(1).tolist() == [10, 4]


def test_padding_is_the_token_that_the_text_names() -> None:
    """KOSMOS names it in the config of its text alone; 0 would count among the positions."""
    text = SimpleNamespace(vocab_size=64, pad_token_id=1)
    whole = SimpleNamespace(get_text_config=lambda: text)
    source = SimpleNamespace(architecture=ARCHITECTURES["llama"], own=False)
    batch = batch_for(source, whole, "prefill", "left", 0)
    assert set(batch["input_ids"][batch["attention_mask"] == 0].tolist()) == {1}
