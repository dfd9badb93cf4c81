"""FlashAttention-2 (G1 to G5)."""

import torch
import transformers

from conformance import spellings
from conformance.guide.spelled import dtype_argument, load, load_in
from conformance.lab import Lab, random_tokens
from matrix.axes import Dtype
from matrix.guide import Spelling

_FLASH = "flash_attention_2"
_PACKED = (61, 33, 7)  # tokens of each sequence in the row


def flash_llama(lab: Lab, spelling: Spelling) -> None:
    """Llama in bfloat16, loaded with FlashAttention-2, generates."""
    model = load_in(lab, "llama", spelling, Dtype.BFLOAT16, attn_implementation=_FLASH)
    lab.cell(f"llama-bfloat16-{_FLASH}-left-generate", model)


def flash_falcon(lab: Lab, spelling: Spelling) -> None:
    """Falcon in bfloat16, loaded with FlashAttention-2, generates."""
    model = load_in(lab, "falcon", spelling, Dtype.BFLOAT16, attn_implementation=_FLASH)
    lab.cell(f"falcon-bfloat16-{_FLASH}-left-generate", model)


def flash_int8_llama(lab: Lab, spelling: Spelling) -> None:
    """8-bit weights and FlashAttention-2."""
    _generates(lab, spelling, "int8")


def flash_4bit_llama(lab: Lab, spelling: Spelling) -> None:
    """4-bit weights and FlashAttention-2."""
    _generates(lab, spelling, "fp4")


def flash_on_cpu(lab: Lab, spelling: Spelling) -> None:
    """A model with FlashAttention-2 that was never moved to the GPU."""
    source = lab.source("llama")
    auto_class = getattr(transformers, source.architecture.auto_class)
    with spellings.default_dtype_kept():
        model = auto_class.from_pretrained(
            source.checkpoint,
            attn_implementation=_FLASH,
            use_safetensors=True,
            **{dtype_argument(spelling): torch.bfloat16},
        )
    with torch.no_grad():
        model.eval()(input_ids=random_tokens(1, 16))


def flash_packed(lab: Lab, spelling: Spelling) -> None:
    """Several sequences in one row, told apart by positions that begin anew: each as if it were alone."""
    dtype = Dtype.BFLOAT16
    alone = [random_tokens(1, length, seed) for seed, length in enumerate(_PACKED)]
    positions = torch.cat([torch.arange(length) for length in _PACKED])[None]
    packed = {"input_ids": torch.cat(alone, dim=1), "position_ids": positions}
    references = [
        torch.cat([lab.reference_logits(model, {"input_ids": tokens}) for tokens in alone], dim=1)
        for model in (lab.reference("llama", dtype, golden=golden) for golden in (False, True))
    ]
    lab.judge(
        "logits of packed sequences",
        candidate=lab.logits(lab.load("llama", lab.flash_attention, dtype), packed),
        baseline=references[0],
        golden=references[1],
        attended=torch.ones(references[1].shape[:2], dtype=torch.bool),
        dtype=dtype,
    )


def _generates(lab: Lab, spelling: Spelling, quantisation: str) -> None:
    model = load(lab, "llama", spelling, attention=_FLASH, dtype=Dtype.FLOAT16, quantisation=quantisation)
    lab.cell(f"llama-float16-{_FLASH}-{quantisation}-left-generate", model)
