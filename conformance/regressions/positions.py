"""position_ids that do not count from 0 in one row: shifted, batched, three-dimensional; and those beyond a limit."""

import torch

from conformance.decoding import cached
from conformance.lab import Lab, Violated, random_tokens
from conformance.models.batches import PLAIN
from matrix.axes import Dtype

_LENGTH = 48


def flash_shifted_position_ids(lab: Lab) -> None:
    """One row whose positions begin at 7: no 0 among them."""
    tokens = random_tokens(1, _LENGTH)
    batch = {"input_ids": tokens, "position_ids": torch.arange(_LENGTH)[None] + 7}
    lab.against_eager("llama", lab.flash_attention, Dtype.BFLOAT16, batch)


def flash_position_ids_in_a_batch(lab: Lab) -> None:
    """Three rows, each with positions of its own."""
    tokens = random_tokens(3, _LENGTH)
    batch = {"input_ids": tokens, "position_ids": torch.arange(_LENGTH)[None] + torch.tensor([[0], [3], [11]])}
    lab.against_eager("llama", lab.flash_attention, Dtype.BFLOAT16, batch)


def qwen3_5_flash_mrope_illegal_access(lab: Lab) -> None:
    """Positions of shape (3, 1, length), whose second dimension is no batch of packed sequences."""
    lab.isolated(_forward_with_mrope)


def flash_mrope_taken_as_packed(lab: Lab) -> None:
    """The same handed to the attention function itself, as any model may."""
    lab.isolated(_attend_with_mrope)


def dynamic_ntk_keeps_old_frequencies(lab: Lab) -> None:
    """The base grows with the length, and keys in the cache were turned by that of a shorter one."""
    _beyond_the_limit(lab, "llama_dynamic_ntk")


def longrope_keeps_old_frequencies(lab: Lab) -> None:
    """Short factors up to the limit, long ones beyond it, and keys in the cache that were turned by the short ones."""
    _beyond_the_limit(lab, "llama_longrope")


def yarn_beyond_its_limit(lab: Lab) -> None:
    """Frequencies that are stretched from the first token on."""
    _beyond_the_limit(lab, "llama_yarn")


def llama_3_rope_beyond_its_limit(lab: Lab) -> None:
    """The same, only the low ones."""
    _beyond_the_limit(lab, "llama_3")


def dynamic_ntk_after_a_longer_text(lab: Lab) -> None:
    """A text of 20 tokens after one of 60, beyond the limit of 32: it has the frequencies of its own length."""
    batch = {"input_ids": random_tokens(2, 20)}
    model = lab.load("llama_dynamic_ntk", "sdpa")
    lab.logits(model, {"input_ids": random_tokens(2, 60)})
    baseline, golden = (
        lab.reference_logits(lab.reference("llama_dynamic_ntk", Dtype.FLOAT32, golden=golden), batch)
        for golden in (False, True)
    )
    lab.judge(
        "llama_dynamic_ntk logits after a longer text",
        candidate=lab.logits(model, batch),
        baseline=baseline,
        golden=golden,
        attended=torch.ones(2, 20, dtype=torch.bool),
        dtype=Dtype.FLOAT32,
    )


def _beyond_the_limit(lab: Lab, name: str) -> None:
    """What is said after 60 tokens, the first 30 given at once and the others one by one, as after all 60 at once.

    Of what was said before nothing is asked: where frequencies follow the length, a longer text is another model.
    """
    batch = {"input_ids": random_tokens(2, 60).to(lab.device)}
    model = lab.load(name, "sdpa")
    with torch.no_grad(), lab.seeded(model):
        candidate = cached(model, batch, [30] + [1] * 30, PLAIN)[:, -1:]
    baseline, golden = (
        lab.reference_logits(lab.reference(name, Dtype.FLOAT32, golden=golden), batch)[:, -1:]
        for golden in (False, True)
    )
    lab.judge(
        f"{name} last logits",
        candidate=candidate,
        baseline=baseline,
        golden=golden,
        attended=torch.ones(2, 1, dtype=torch.bool),
        dtype=Dtype.FLOAT32,
    )


def _forward_with_mrope(lab: Lab) -> None:
    batch = {"input_ids": random_tokens(1, _LENGTH), "position_ids": _image_positions()}
    attended = torch.ones(1, _LENGTH, dtype=torch.bool)
    lab.against_eager("qwen3_5", lab.flash_attention, Dtype.BFLOAT16, batch, attended=attended)


def _attend_with_mrope(lab: Lab) -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    model = lab.load("llama", lab.flash_attention, Dtype.BFLOAT16)
    module = model.model.layers[0].self_attn
    torch.manual_seed(3)
    query = torch.randn(1, 4, _LENGTH, 16, dtype=torch.bfloat16, device=lab.device)
    key, value = torch.randn(2, 1, 2, _LENGTH, 16, dtype=torch.bfloat16, device=lab.device)
    attend = ALL_ATTENTION_FUNCTIONS[lab.flash_attention]
    plain, _ = attend(module, query, key, value, None, scaling=0.25)
    given, _ = attend(module, query, key, value, None, scaling=0.25, position_ids=_image_positions().to(lab.device))
    worst = float((plain - given).abs().max())
    if not worst < 0.02:
        raise Violated(f"3-D position_ids change what attention gives by up to {worst:.3g}")


def _image_positions() -> torch.Tensor:
    """Time, height and width of eight tokens of text, an image of 4 x 8, and eight more of text."""
    text = torch.arange(8).expand(3, -1)
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(8), indexing="ij")
    image = torch.stack([torch.zeros(32, dtype=torch.long), rows.flatten(), columns.flatten()]) + 8
    return torch.cat([text, image, text + 16], dim=1)[:, None]
