"""`pipeline()` beside `generate()` on one int8 model: what C8 is judged by."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers

from conformance import spellings
from conformance.claims.shapes import OPT_350M
from conformance.quantisers.bitsandbytes import load_arguments
from reports.document import Point

PROMPTS = 4
PROMPT_TOKENS = 16
NEW_TOKENS = 24
ROUNDS = 4  # each way has its turn in each, so that a device that grows warm or slow does so for both
_WORDS_FROM = 4  # ids below are special


@dataclass(frozen=True)
class Compared:
    """Points of both, and whether both chose the same tokens."""

    points: list[Point]
    same_tokens: bool


def opt_350m(device: torch.device, folder: Path) -> str:
    """A checkpoint of OPT-350m's shape with random weights."""
    torch.manual_seed(0)
    with device:
        model = OPT_350M.model("sdpa", torch.float16)
    model.save_pretrained(folder, safe_serialization=True)
    return str(folder)


def compare_pipeline(
    subject: str, checkpoint: str, device: torch.device, *, new_tokens: int = NEW_TOKENS, rounds: int = ROUNDS
) -> Compared:
    """One model in int8 and one tokenizer, both ways in turns: one prompt, then several as a list.

    Both tokenise, generate greedily and turn tokens into text.
    """
    given: dict[str, Any] = {spellings.DTYPE_ARGUMENT: torch.float16, "use_safetensors": True}
    given |= load_arguments("int8", torch.float16)
    given["device_map"] = {"": str(device)}
    with spellings.default_dtype_kept():
        model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, **given).eval()
    tokenizer = make_tokenizer(model.config.vocab_size)
    pipeline = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    options = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens, "do_sample": False, "pad_token_id": 0}
    prompts = make_prompts(model.config.vocab_size)

    def by_generate(texts: list[str]) -> list[str]:
        batch = tokenizer(texts, return_tensors="pt", padding=True).to(model.device)
        with torch.no_grad():
            tokens = model.generate(**batch, **options)
        return list(tokenizer.batch_decode(tokens, skip_special_tokens=True))

    def by_pipeline(texts: list[str]) -> list[str]:
        found = pipeline(texts, **options)
        return [answers[0]["generated_text"] for answers in found]

    def synchronise() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    ways: dict[str, Callable[[list[str]], list[str]]] = {"generate()": by_generate, "pipeline()": by_pipeline}
    points, same = [], True
    for texts in (prompts[:1], prompts):
        answers = {name: way(texts) for name, way in ways.items()}  # the warm-up
        if len(texts) == 1:  # in a batch each row is rounded otherwise, and greedy choices may part
            # Without spaces: releases of pipeline() leave out the one between a prompt and what follows.
            same = len({"".join(answer[0].split()) for answer in answers.values()}) == 1
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                synchronise()
                started = time.perf_counter()
                way(texts)
                synchronise()
                seconds[name].append(time.perf_counter() - started)
        points += [
            Point(
                subject=subject,
                backend=name,
                workload="generate",
                batch=len(texts),
                sequence=PROMPT_TOKENS,
                seconds=taken,
                tokens_per_second=len(texts) * new_tokens / statistics.median(taken),
            )
            for name, taken in seconds.items()
        ]
    return Compared(points, same)


def make_tokenizer(vocabulary: int) -> transformers.PreTrainedTokenizerFast:
    """A word for each token id, so that every generated token has a text."""
    words = {_word(token): token for token in range(vocabulary)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token=_word(1)))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token=_word(0),
        unk_token=_word(1),
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
    )


def make_prompts(vocabulary: int) -> list[str]:
    """Some of equal length, of words that are not special."""
    drawn = torch.randint(_WORDS_FROM, vocabulary, (PROMPTS, PROMPT_TOKENS), generator=torch.Generator().manual_seed(2))
    return [" ".join(_word(int(token)) for token in row) for row in drawn]


def _word(token: int) -> str:
    # A special token is found anywhere in a text, so that none may be the beginning of another word.
    return f"w{token}" if token >= _WORDS_FROM else f"<{token}>"
