"""LoRA adapters, and what they mean in plain torch: y = x W' + alpha / rank * (x A') B'. Scripts carry it along.

peft is neither asked for their files nor for the truth; it is imported where it is tried.
"""

import contextlib
import tempfile
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file

from conformance.judging.found import OneRun
from conformance.judging.references import References
from conformance.models.batches import judged, told
from conformance.models.outputs import forward

RANK, ALPHA = 4, 8
LOUDNESS = 0.25  # of B, with which the adapter says about as much as the weight


class Lora:
    """An adapter of every linear module but the head.

    Args:
        model: the model that it is for; it is left as it is.
        seed: of its numbers.
    """

    def __init__(self, model, seed):
        generator = torch.Generator().manual_seed(seed)
        self.pairs = {}  # name of the module -> A of shape (rank, inputs), B of shape (outputs, rank), in float32
        for name, inputs, outputs in linear_modules(model):
            down = torch.randn(RANK, inputs, generator=generator) / inputs**0.5
            self.pairs[name] = down, LOUDNESS * torch.randn(outputs, RANK, generator=generator)

    def config(self, **known):
        """As peft is told of it."""
        from peft import LoraConfig

        return LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=[*self.pairs], lora_dropout=0.0, **known)

    def fill(self, model, name="default"):
        """Give a model's adapter of that name these numbers, as training would have."""
        for module, (down, up) in self.pairs.items():
            layer = model.get_submodule(module)
            with torch.no_grad():
                copy_into(layer.lora_A[name].weight, down)
                copy_into(layer.lora_B[name].weight, up)

    def write(self, folder, base):
        """Its folder, as peft writes one; `base` is where the base model is loaded from."""
        folder = Path(folder)
        folder.mkdir()
        self.config(base_model_name_or_path=str(base)).save_pretrained(str(folder))
        kept = {}
        for module, (down, up) in self.pairs.items():
            kept[f"base_model.model.{module}.lora_A.weight"] = down
            kept[f"base_model.model.{module}.lora_B.weight"] = up
        save_file(kept, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        return str(folder)

    def spell_out(self, model, factor=1.0, merged=False):
        """Give a plain model its meaning, so many times: beside the weights, or in them."""
        for name, pair in self.pairs.items():
            module = model.get_submodule(name)
            if merged:
                down, up = (one.to(module.weight.device, torch.float64) for one in pair)
                change = factor * ALPHA / RANK * up @ down
                change = change.T if type(module).__name__ == "Conv1D" else change
                module.weight.data = (module.weight.double() + change).to(module.weight.dtype)
            else:
                module.register_forward_hook(beside(*pair, factor * ALPHA / RANK))


def copy_into(weight, numbers):
    """Give a weight these numbers, or its own part of them where several processes hold it together."""
    if hasattr(weight, "device_mesh"):
        from torch.distributed.tensor import distribute_tensor

        # Every process has all of them: none need be sent.
        numbers = distribute_tensor(
            numbers.to(weight.device, weight.dtype), weight.device_mesh, weight.placements, src_data_rank=None
        )
    weight.copy_(numbers)


def put_on(model, lora, course):
    """The model with a LoRA of these numbers, as peft puts it there."""
    from peft import get_peft_model

    with course.during("transform"):
        adapted = get_peft_model(model, lora.config()).eval()
        lora.fill(model)
    return adapted


def loaded_by_peft(model, folder, **named):
    """The model with the adapter of a folder, as peft loads it.

    Of a base that waits on the disk peft writes a copy beneath the working directory, since it drops the first slash of
    where the file is: it is sent where all of it goes.
    """
    from peft import PeftModel

    with contextlib.chdir(folder):
        return PeftModel.from_pretrained(model, folder, **named).eval()


def two_loaded(model, course):
    """Two LoRAs, and the model with both of them loaded as `first`, which is on, and `second`."""
    loras = [Lora(model, seed) for seed in (1, 2)]
    with tempfile.TemporaryDirectory() as folder, course.during("load"):
        first, second = (lora.write(f"{folder}/{turn}", course.source.checkpoint) for turn, lora in enumerate(loras))
        adapted = loaded_by_peft(model, first, adapter_name="first")
        adapted.load_adapter(second, adapter_name="second")
    return loras, adapted


def beside(down, up, factor):
    """A hook that adds an adapter's part to what a module gives, in the dtype of what it is given."""

    def add(module, args, output):
        there = {"device": args[0].device, "dtype": args[0].dtype}
        return output + (factor * (args[0] @ down.to(**there).T) @ up.to(**there).T).to(output.dtype)

    return add


def linear_modules(model):
    """Name, inputs and outputs of every linear module but the head."""
    head = model.get_output_embeddings()
    for name, module in model.named_modules():
        if module is head:
            continue
        if isinstance(module, torch.nn.Linear):
            yield name, module.in_features, module.out_features
        elif type(module).__name__ == "Conv1D":  # transformers' own, of GPT-2
            yield name, *module.weight.shape


class AdaptedReferences(References):
    """References that were given an adapter's meaning. Their logits are of one batch, and kept."""

    def __init__(self, references, change):
        super().__init__(references.cell, references.source, references.does, references.device)
        self.change, self.made, self.draws = change, {}, references.draws

    def __call__(self, batch, *, golden):
        """Logits of shape (batch, positions, vocabulary)."""
        if golden not in self.made:
            self.made[golden] = super().__call__(batch, golden=golden)
        return self.made[golden]

    def model(self, golden, attention=None):
        """The reference model, through another attention implementation if one is named."""
        model = super().model(golden, attention)
        self.change(model)
        return model


class AdaptedRun(OneRun):
    """Logits of a run with an adapter; `change` gives a reference the adapter's meaning."""

    def __init__(self, logits, batch, change):
        super().__init__("logits", logits, batch, judged(batch, logits))
        self.adapted = cache(lambda references: AdaptedReferences(references, change))

    def truth(self, references):
        """The references that it is held against."""
        return self.adapted(references)

    def cost(self, references):
        """Not measured."""


def judged_with(model, batch, course, *spoken, merged=False):
    """The logits of a forward pass, held against the base model with these adapters, each (lora, how many times)."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model  # peft's own takes anything
    given = told(batch, inner, course.source.architecture)
    with course.during("forward"):
        logits = forward(model, given)

    def change(reference):
        for lora, factor in spoken:
            lora.spell_out(reference, factor, merged)

    return AdaptedRun(logits, batch, change)
