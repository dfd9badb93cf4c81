"""bitsandbytes, and what its weights mean in plain torch, so that its kernels are not their own judge.

Scripts carry it along.
"""

import torch
import transformers

# The 4-bit code books of bitsandbytes: NF4 from QLoRA (arXiv:2305.14314, appendix E), FP4 as sign,
# two exponent bits and one of mantissa, scaled to 1.
NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635]
NF4 += [-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725]
NF4 += [0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941]
NF4 += [0.7229568362236023, 1.0]
FP4 = [0.0, 0.0052083333, 0.6666667, 1.0, 0.3333333, 0.5, 0.1666667, 0.25]
CODE_BOOKS = {"nf4": NF4, "fp4": FP4 + [-value for value in FP4]}
SKIPPED = ("q_proj", "SelfAttention.q", "attention.self.query")  # for 8 bits and 4, whatever the name of the argument


def load_arguments(quantisation, dtype):
    """What from_pretrained is given; the compute dtype is the cell's."""
    skipped = list(SKIPPED) if quantisation.endswith("_skip") else None
    if quantisation.startswith("int8"):
        config = transformers.BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
        return {"quantization_config": config}
    config = transformers.BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="fp4" if quantisation == "fp4" else "nf4",
        bnb_4bit_use_double_quant=quantisation == "nf4_double_quant",
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=torch.bfloat16 if quantisation == "nf4_bfloat16_storage" else torch.uint8,
        llm_int8_skip_modules=skipped,
    )
    return {"quantization_config": config}


def stored_as(module):
    """The format of a module's weight, empty if it has none (yet); None if the module is not bitsandbytes'."""
    if not type(module).__module__.startswith("bitsandbytes"):
        return None
    weight = getattr(module, "weight", None)
    state = getattr(weight, "quant_state", None)
    if state is not None:
        stored = "" if weight.dtype == torch.uint8 else f" in {str(weight.dtype).removeprefix('torch.')}"
        return f"{state.quant_type}{' nested' if state.nested else ''}{stored}"
    return "int8" if weight is not None and weight.dtype == torch.int8 else ""


def spell_out(model, load_quantised, device, golden):
    """Give the model the weights of its quantised twin, in plain torch.

    The twin is not moved: bitsandbytes places its models itself, and transformers 4.x refuses to move int8 ones.
    """
    replace_linear(model, load_quantised(), golden)


def dequantise_4bit(packed, state, dtype=torch.float32):
    """The weight of shape `state.shape` that a packed 4-bit weight stands for; scales and codes meet in `dtype`.

    Two codes a byte, high half first; each block of `state.blocksize` values is scaled by its absolute
    maximum; with double quantisation these maxima are themselves 8-bit codes, blocks of 256, plus an offset.
    """
    maxima = state.absmax
    if state.nested:
        inner = state.state2
        blocks = torch.arange(maxima.numel(), device=maxima.device) // inner.blocksize
        maxima = inner.code[maxima.long()] * inner.absmax[blocks] + state.offset
    halves = packed.reshape(-1).view(torch.uint8).long()
    codes = torch.stack([halves >> 4, halves & 15], dim=1).reshape(-1)[: state.shape.numel()]
    book = torch.tensor(CODE_BOOKS[state.quant_type], dtype=dtype, device=packed.device)
    blocks = torch.arange(codes.numel(), device=packed.device) // state.blocksize
    return (book[codes] * maxima.to(dtype)[blocks]).reshape(state.shape)


def dequantise_int8(codes, scales):
    """The float32 weight of an int8 matrix: row maxima are 127."""
    return codes.float() * (scales.float() / 127)[:, None]


class PlainInt8Linear(torch.nn.Module):
    """LLM.int8() (arXiv:2208.07339) in plain arithmetic: float16 inputs, rows quantised by their absolute
    maximum, columns with an outlier of at least `threshold` kept in 16 bits.
    """

    def __init__(self, codes, scales, bias, threshold):
        super().__init__()
        self.codes, self.scales, self.threshold = codes.double(), scales.double(), threshold
        self.bias = bias

    def forward(self, inputs):
        """The product, in the dtype of the inputs."""
        rows = inputs.reshape(-1, inputs.shape[-1]).half().double()
        outliers = (rows.abs() >= self.threshold).any(0) & (self.threshold > 0)
        regular = rows.masked_fill(outliers, 0)
        maxima = regular.abs().amax(1, keepdim=True).float().double()
        quantised = (regular * (127 / maxima.clamp_min(1e-30))).round()
        product = (quantised @ self.codes.T) * maxima * self.scales / 127**2
        product += rows[:, outliers] @ (self.codes * (self.scales / 127)[:, None])[:, outliers].T
        product = product.half().to(inputs.dtype)
        if self.bias is not None:
            product = product + self.bias.to(product.dtype)
        return product.reshape(*inputs.shape[:-1], -1)


def replace_linear(model, quantised, golden):
    """Give each linear module of `model` the weights of its quantised twin, in plain torch.

    Golden holds them dequantised. Baseline holds 4-bit weights dequantised in the model's own dtype, scales
    included, as some kernels do, and int8 ones as a PlainInt8Linear.
    """
    # Jamba multiplies by the weight of its time steps itself, unless it is told that there may be none.
    model.config._is_quantized = True
    for name, module in quantised.named_modules():
        weight = getattr(module, "weight", None)
        if type(module).__name__ == "Linear8bitLt":
            if module.state.SCB is None and not hasattr(weight, "SCB"):
                continue  # a tied head that a skip list has not named: its weight is the embedding, which is plain
            scales = module.state.SCB if module.state.SCB is not None else weight.SCB
            codes = module.state.CB if module.state.CB is not None else weight.data
            if not golden:
                plain = PlainInt8Linear(codes, scales, module.bias, module.state.threshold)
                owner, _, attribute = name.rpartition(".")
                setattr(model.get_submodule(owner), attribute, plain)
                continue
            values = dequantise_int8(codes, scales)
        elif getattr(weight, "quant_state", None) is not None:
            dtype = torch.float32 if golden else model.get_submodule(name).weight.dtype
            values = dequantise_4bit(weight.data, weight.quant_state, dtype)
        else:
            continue
        target = model.get_submodule(name)
        # transformers' Conv1D (GPT-2) holds its weight transposed; bitsandbytes stores it as a Linear.
        values = values.T if type(target).__name__ == "Conv1D" else values
        target.weight = torch.nn.Parameter(values.to(target.weight.dtype), requires_grad=False)
