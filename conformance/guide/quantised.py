"""bitsandbytes on one device (G12, G14)."""

from typing import Any

import torch
import transformers

from conformance.claims.pipelines import make_prompts, make_tokenizer
from conformance.guide.spelled import bits_and_bytes, load
from conformance.lab import Lab, Violated
from conformance.maps import map_with_last_away
from conformance.models.batches import make_batch
from matrix.axes import Dtype
from matrix.guide import Spelling

_NEW_TOKENS = 24


def fp4_bloom(lab: Lab, spelling: Spelling) -> None:
    """BLOOM in 4 bits with device_map="auto", and no dtype named."""
    _generates(lab, "bloom", spelling, "fp4", device_map="auto")


def fp4_bloom_without_device_map(lab: Lab, spelling: Spelling) -> None:
    """The same without a device_map, which is optional."""
    _generates(lab, "bloom", spelling, "fp4")


def int8_bloom(lab: Lab, spelling: Spelling) -> None:
    """BLOOM in 8 bits with device_map="auto"."""
    _generates(lab, "bloom", spelling, "int8", device_map="auto")


def int8_t5(lab: Lab, spelling: Spelling) -> None:
    """T5 in 8 bits: an encoder-decoder."""
    _generates(lab, "t5", spelling, "int8", device_map="auto")


def inputs_on_cpu(lab: Lab, spelling: Spelling) -> None:
    """The model is on the GPU and its inputs are not."""
    model = load(lab, "opt", spelling, dtype=Dtype.FLOAT16, quantisation="int8")
    with torch.no_grad():
        model(**make_batch("prefill", "none", 256, 0))


def cast_by_to(lab: Lab, spelling: Spelling) -> None:
    """A quantised model cannot be given another dtype."""
    load(lab, "opt", spelling, dtype=Dtype.FLOAT16, quantisation="int8").to(torch.bfloat16)


def cast_by_half(lab: Lab, spelling: Spelling) -> None:
    """Nor by its shorthand."""
    load(lab, "opt", spelling, dtype=Dtype.BFLOAT16, quantisation="fp4").half()


def moved_by_cuda(lab: Lab, spelling: Spelling) -> None:
    """An int8 model is placed as it is loaded."""
    load(lab, "opt", spelling, dtype=Dtype.FLOAT16, quantisation="int8").cuda()


def both_flags(lab: Lab, spelling: Spelling) -> None:
    """8 and 4 bits at the same time."""
    flags = {"load_in_8bit": True, "load_in_4bit": True}
    given = flags if spelling is Spelling.GUIDE else {"quantization_config": bits_and_bytes(flags, None)}
    lab.load_as("opt", **given)


def flag_beside_config(lab: Lab, spelling: Spelling) -> None:
    """The guide's flag and today's config at the same time."""
    lab.load_as("opt", load_in_8bit=True, quantization_config=bits_and_bytes({"load_in_8bit": True}, None))


def offloaded_to_cpu(lab: Lab, spelling: Spelling) -> None:
    """Some modules of an int8 model on the CPU, which has to be asked for."""
    _offloaded(lab, asked_for=False)


def offloaded_to_cpu_on_request(lab: Lab, spelling: Spelling) -> None:
    """The same with llm_int8_enable_fp32_cpu_offload: what is on the CPU stays float32, and the model runs."""
    model = _offloaded(lab, asked_for=True)
    batch = {name: tensor.to(lab.device) for name, tensor in make_batch("prefill", "left", 256, 0).items()}
    with torch.no_grad():
        found = model(**batch).logits.float()
        wanted = lab.reference_logits(lab.reference("opt", Dtype.FLOAT16, golden=True), batch)
    attended = batch["attention_mask"].bool()
    agreement = float((found.argmax(-1) == wanted.argmax(-1))[attended].float().mean())
    if not bool(torch.isfinite(found[attended]).all()) or agreement < 0.9:
        raise Violated(f"the unquantised model prefers another token at {1 - agreement:.0%} of the positions")


def pipeline_generates(lab: Lab, spelling: Spelling) -> None:
    """`pipeline()` over an int8 model gives the tokens of `generate()`."""
    _pipeline_agrees(lab, spelling, do_sample=False)


def pipeline_samples_by_nucleus(lab: Lab, spelling: Spelling) -> None:
    """Nucleus sampling through `pipeline()`, which the guide says was not supported."""
    _pipeline_agrees(lab, spelling, do_sample=True, top_p=0.9, top_k=0, temperature=1.0)


def _generates(lab: Lab, name: str, spelling: Spelling, quantisation: str, **more: Any) -> None:
    model = load(lab, name, spelling, quantisation=quantisation, **more)
    placed = "-auto" if more.get("device_map") == "auto" else ""
    dtype = str(model.dtype).removeprefix("torch.")  # the library's own choice
    lab.cell(f"{name}-{dtype}-eager-{quantisation}{placed}-left-generate", model)


def _offloaded(lab: Lab, *, asked_for: bool) -> Any:
    source = lab.source("opt")
    with torch.device("meta"):
        empty = transformers.AutoModelForCausalLM.from_config(
            transformers.AutoConfig.from_pretrained(source.checkpoint)
        )
    config = transformers.BitsAndBytesConfig(load_in_8bit=True, llm_int8_enable_fp32_cpu_offload=asked_for)
    return lab.load_as("opt", quantization_config=config, device_map=map_with_last_away(empty, 0, "cpu"))


def _pipeline_agrees(lab: Lab, spelling: Spelling, **sampling: Any) -> None:
    model = load(lab, "opt", spelling, dtype=Dtype.FLOAT16, quantisation="int8")
    tokenizer = make_tokenizer(model.config.vocab_size)
    lengths = {"max_new_tokens": _NEW_TOKENS, "min_new_tokens": _NEW_TOKENS, "pad_token_id": 0}
    pipeline = transformers.pipeline("text-generation", model=model, tokenizer=tokenizer)
    for prompt in make_prompts(model.config.vocab_size):
        inputs = tokenizer(prompt, return_tensors="pt").to(model.device)
        torch.manual_seed(5)
        wanted = model.generate(**inputs, **lengths, **sampling)[0].tolist()
        torch.manual_seed(5)
        found = pipeline(prompt, return_tensors=True, **lengths, **sampling)[0]["generated_token_ids"]
        if list(found) != wanted:
            raise Violated(f"after {prompt!r} pipeline() chose {list(found)}, generate() {wanted}")
