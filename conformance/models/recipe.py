"""How a fixture's weights are made. Needs only torch and transformers: reproducing scripts carry it along."""

import contextlib
import copy
import hashlib
import math
import re

import torch
import transformers
from torch.overrides import TorchFunctionMode

from conformance.models.inputs import made
from conformance.models.outputs import forward, spread_of
from conformance.spellings import text_config

_ROUTER = re.compile(r"(^|\.)(gate|router|classifier|wg)(\.weight)?$|router\.\w+\.weight$")
_INTO_RESIDUAL = re.compile(r"(o_proj|out_proj|down_proj|c_proj|wo|w2|dense|output_linear|dense_4h_to_h)(\.weight)?$")
_EXPERTS = re.compile(r"experts?\.")
_POST_NORM = re.compile(r"LayerNorm|(sa|output)_layer_norm")
# What remembers step by step also hands its rounding on: loud, it would drown what attention says.
_RECURRENT = re.compile(r"linear_attn|mamba|mixer|ssm|rg_lru|temporal_block\.linear|delta|retention", re.IGNORECASE)
_IN_ATTENTION = re.compile(r"attn|attention|mamba|mixer|temporal_block", re.IGNORECASE)
ATTENTION_ENTROPY = 0.7  # mean over heads and rows, as a share of a uniform row's
LOGIT_SPREAD = 2.0  # standard deviation
FEWEST_KEYS = 8  # of a row of attention weights that is looked at
# One feature of a norm stands out, as in real models: without it LLM.int8() would have no outliers to keep apart.
# Not where the residual stream itself runs through the norm: there it would drown the rest.
OUTLIER, OUTLIER_SIZE = 3, 4.0
# Standard deviations of what weights make of inputs with deviation 1. Attention is how a token hears of others: what
# it says is the signal, what the MLP adds to it is mostly rounding.
ATTENTION_GAIN, MLP_GAIN, EMBEDDING, TIED_EMBEDDING = 1.6, 0.8, 0.2, 0.02
# Standard deviation of what a router scores its experts by. Which are chosen follows from the token alone, by values
# far from each other, that no layer adds to: rounding cannot turn a choice, and an honest run chooses as golden does.
ROUTER_SPREAD, ROUTED_BY = 1.0, 1.0
# Weights that change the entropy by less than this share of what the first does have other work to do.
_SHARPENS = 0.2
WRONG_SCALE = 1.1  # of the softmax: whether a fixture would show it is measured


def build_model(model_type, auto_class, config, inputs, seed=0):
    """A small model with weights under which mistakes show, in float32 and eval mode.

    With a library's own initialisation attention is almost uniform, and a softmax scale wrong by 10 %
    drowns in bfloat16 noise. Here values and outputs are loud beside the residual stream and the MLP,
    biases and norms are drawn rather than left at 0 and 1, and scales are set by measurement: that of queries
    and keys (attention entropy), of routers (spread of their scores) and of the last norm (spread of the logits).
    Each parameter is drawn from a generator of its own, seeded by its name and shape: a model that gains a layer, or a
    library that makes its parts in another order, changes no other weight.
    """
    torch.manual_seed(seed)
    model_config = transformers.AutoConfig.for_model(model_type, **config)
    model_config._attn_implementation = "eager"
    model = getattr(transformers, auto_class).from_config(model_config).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            _draw(name, parameter, model, seed)
        given = calibration_batch(inputs, seed)
        _route_by_token(model, given)
        _sharpen_attention(model, given)
        _spread_logits(model, given, inputs)
    return model


def calibration_batch(inputs, seed):
    """Unpadded rows of 64 tokens, or of whatever the model takes."""
    return made(inputs, (64, 64, 64, 64), "none", 0, 64, seed)


def _draw(name, parameter, model, seed):
    """Give a parameter the weights of its role, or leave it as its class made it for a reason.

    Fixed tables, time steps and decays of recurrent layers, scales of layers: drawn around 0 a time step is so small
    that what such a layer remembers no longer shows.
    """
    owner_name, _, kind = name.rpartition(".")
    owner = model.get_submodule(owner_name)
    if not parameter.requires_grad or name.endswith("dt_proj.bias"):
        return
    source = f"{seed} {name} {tuple(parameter.shape)}"
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(source.encode()).digest()[:7]))
    drawn = torch.randn(parameter.shape, generator=generator)
    is_norm = "norm" in type(owner).__name__.lower()
    if is_norm or (parameter.ndim < 2 and kind == "bias"):
        one = float(parameter.mean().round()) if kind != "bias" else 0.0  # some norms multiply by 1 + weight
        parameter.copy_(one + 0.1 * drawn)
        if kind != "bias" and _carries_outlier(name, parameter, model):
            parameter[OUTLIER] = (parameter[OUTLIER] + 1 - one) * OUTLIER_SIZE - 1 + one
    elif parameter.ndim < 2:
        return
    elif isinstance(owner, torch.nn.Embedding):
        parameter.copy_(drawn * (TIED_EMBEDDING if _is_tied(model, parameter) else EMBEDDING))
    elif (parameter.ndim == 2 and kind == "weight") or (_EXPERTS.search(name) and parameter.ndim > 2):
        loud = _IN_ATTENTION.search(name) and not _RECURRENT.search(name)
        parameter.copy_(drawn * (ATTENTION_GAIN if loud else MLP_GAIN) / math.sqrt(_fan_in(owner, parameter)))
    elif _is_random(parameter):  # convolutions, gates of recurrent layers: as large as their class has them
        parameter.copy_(drawn * (_rounded(parameter.std()) if parameter.isfinite().all() else EMBEDDING))
    elif not parameter.any():  # positions, queries and tables that training would fill
        parameter.copy_(drawn * EMBEDDING)


def _is_random(parameter):
    """Whether a class drew it around 0, as it does with weights; a fixed table or a time step it counts out."""
    deviation = parameter.std()
    return not parameter.isfinite().all() or bool(deviation > 0 and parameter.mean().abs() < 0.1 * deviation)


def _fan_in(owner, parameter):
    if parameter.ndim == 2:  # GPT-2's Conv1D is a linear module that keeps its weight the other way round
        return parameter.shape[0 if type(owner).__name__ == "Conv1D" else 1]
    # Of experts in one tensor nobody says which of the last dimensions is the input.
    return math.sqrt(parameter.shape[-1] * parameter.shape[-2])


def _carries_outlier(name, parameter, model):
    hidden = getattr(text_config(model.config), "hidden_size", None)
    return len(parameter) == hidden and not _POST_NORM.search(name)


def _is_tied(model, parameter):
    output, embedded = model.get_output_embeddings(), _token_embeddings(model)
    return output is not None and embedded is parameter and getattr(output, "weight", None) is parameter


def _token_embeddings(model):
    try:
        return model.get_input_embeddings().weight
    except (AttributeError, NotImplementedError, KeyError):
        return None


class AttentionWeights(TorchFunctionMode):
    """Sees what eager attention makes of its scores: every softmax over keys, whoever calls it.

    Args:
        scale: what the scores are multiplied by before.
    """

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale, self.found = scale, []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Called for each function of torch."""
        kwargs = kwargs or {}
        if func not in (torch.softmax, torch.Tensor.softmax, torch.nn.functional.softmax):
            return func(*args, **kwargs)
        scores = args[0] if args else kwargs["input"]
        if scores.ndim < 3 or scores.shape[-1] < FEWEST_KEYS:  # of a router, or over classes
            return func(*args, **kwargs)
        if self.scale != 1.0:
            args = (scores * self.scale, *args[1:])
        weights = func(*args, **kwargs)
        self.found.append(weights)
        return weights

    def entropy(self):
        """The mean over heads and rows, as a share of a uniform row's; None where nothing attends."""
        found = []
        for weights in self.found:
            keys = (weights > 0).sum(-1)
            entropy = -(weights * weights.clamp_min(1e-30).log()).sum(-1)
            shares = (entropy / keys.clamp_min(2).log())[keys >= FEWEST_KEYS]
            if shares.numel():
                found.append(shares.mean())
        return torch.stack(found).mean() if found else None


def calibration(model, inputs):
    """What the scales were set by, measured again on inputs that the recipe has not seen.

    float16 reaches to 65504: the largest value of any module says how far a fixture stays from there. By what
    WRONG_SCALE changes the output, and by what rounding does in half precision, one sees whether it would be noticed.
    """
    largest = []
    hooks = [module.register_forward_hook(lambda *seen: largest.extend(_sizes(seen[-1]))) for module in model.modules()]
    given = calibration_batch(inputs, 1)
    with torch.no_grad():
        usual, entropy = _watched(model, given)
        for hook in hooks:
            hook.remove()
        wrong, _ = _watched(model, given, WRONG_SCALE)
        measured = {
            "attention_entropy": None if entropy is None else round(float(entropy), 4),
            "logit_spread": round(float(spread_of(usual)), 4),
            "largest_logit": round(float(usual.abs().max()), 4),
            "largest_hidden_state": round(max(largest), 4),
            "wrong_scale": float(f"{(wrong - usual).abs().mean():.3g}"),
        }
        for dtype in (torch.bfloat16, torch.float16):
            measured[str(dtype).removeprefix("torch.")] = _rounding(model, given, dtype, usual)
    return measured


def _rounding(model, given, dtype, usual):
    """The mean error of a run in this dtype; None where it doesn't run."""
    with contextlib.suppress(Exception):
        return float(f"{(forward(copy.deepcopy(model).to(dtype), given).float() - usual).abs().mean():.3g}")
    return None


def _sizes(output):
    values = output if isinstance(output, (tuple, list)) else [output]
    return [
        float(value.abs().max())
        for value in values
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel()
    ]


def _watched(model, given, scale=1.0):
    with AttentionWeights(scale) as attention:
        output = forward(model, given)
    return output, attention.entropy()


def _route_by_token(model, given):
    """Keep a feature of the residual stream for each expert, which only embeddings write and only routers weigh."""
    embedded = _token_embeddings(model)
    if embedded is None:
        return
    hidden = embedded.shape[-1]
    named = dict(model.named_parameters())
    routers = {
        name: parameter
        for name, parameter in named.items()
        if _ROUTER.search(name) and parameter.ndim == 2 and parameter.shape[1] == hidden > 2 * parameter.shape[0] > 2
    }
    if not routers:
        return
    experts = max(len(router) for router in routers.values())
    levels, kept = torch.linspace(ROUTED_BY, -ROUTED_BY, experts), slice(hidden - experts, hidden)
    generator = torch.Generator().manual_seed(0)
    for embedding in embedded:
        embedding[kept] = levels[torch.randperm(experts, generator=generator)]
    for name, parameter in named.items():
        if parameter.shape == (hidden,):
            parameter[kept] = parameter.mean().round() if "norm" in name else parameter[kept]
        elif _INTO_RESIDUAL.search(name) and parameter.ndim >= 2 and parameter.shape[-2] == hidden:
            parameter[..., kept, :] = 0
    for name, parameter in routers.items():
        parameter.copy_(torch.eye(hidden)[kept][: len(parameter)])
        module = model.get_submodule(name.rpartition(".")[0])
        seen = []
        hook = module.register_forward_pre_hook(lambda module, given, seen=seen: seen.append(given[0]))
        model(**given)
        hook.remove()
        if seen:
            parameter.mul_(_rounded(ROUTER_SPREAD / (seen[0].float() @ parameter.T).std()))


def _rounded(scale):
    """To three digits: what rounds differently in the last bit makes the same fixture."""
    return float(f"{float(scale):.3g}")


def _sharpening(model, given):
    """The weights that decide the entropy: each by what a change of its scale does, to first order."""
    parameters = [
        (name, parameter)
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
        and _IN_ATTENTION.search(name)
        and not _RECURRENT.search(name)
        and not name.endswith("bias")
        and not isinstance(model.get_submodule(name.rpartition(".")[0]), torch.nn.Embedding)
    ]
    if not parameters:
        return []
    with torch.enable_grad():
        _, entropy = _watched(model, given)
        if entropy is None or not entropy.requires_grad:
            return []
        slopes = torch.autograd.grad(entropy, [parameter for _, parameter in parameters], allow_unused=True)
    effects = [
        0.0 if slope is None else float((slope * parameter).sum().abs())
        for slope, (_, parameter) in zip(slopes, parameters, strict=True)
    ]
    return [
        parameter
        for effect, (_, parameter) in zip(effects, parameters, strict=True)
        if effect > _SHARPENS * max(effects)
    ]


def _sharpen_attention(model, given):
    """Bisect the common scale of the weights that decide it until the attention entropy is ATTENTION_ENTROPY."""
    sharpening = _sharpening(model, given)
    if not sharpening:
        return
    begun = [parameter.clone() for parameter in sharpening]

    def scaled(power):
        for parameter, before in zip(sharpening, begun, strict=True):
            parameter.copy_(before * 2.0**power)

    low, high = -6.0, 4.0
    for _ in range(9):
        scaled((low + high) / 2)
        _, entropy = _watched(model, given)
        sharp_enough = not entropy > ATTENTION_ENTROPY  # nor where it is no number any more
        low, high = (low, (low + high) / 2) if sharp_enough else ((low + high) / 2, high)
    scaled((low + high) / 2)


def _spread_logits(model, given, inputs):
    """Scale the last norm, or else the head, so that the logits spread by LOGIT_SPREAD."""
    if inputs.get("output", "logits") != "logits":
        return
    norms = []
    hooks = [
        module.register_forward_hook(lambda module, *_: norms.append(module))
        for module in model.modules()
        if "norm" in type(module).__name__.lower() and any(True for _ in module.parameters(recurse=False))
    ]
    spread = spread_of(forward(model, given))
    for hook in hooks:
        hook.remove()
    for module in [norms[-1]] if norms else []:
        before = [parameter.clone() for parameter in module.parameters(recurse=False)]
        _scale_norm(module, _rounded(LOGIT_SPREAD / spread))
        reached = spread_of(forward(model, given))
        if not 0.7 * LOGIT_SPREAD < reached < 1.4 * LOGIT_SPREAD:  # it was not what the head looks at
            for parameter, usual in zip(module.parameters(recurse=False), before, strict=True):
                parameter.copy_(usual)
        else:
            return
    head = model.get_output_embeddings()
    if head is not None and not _is_tied(model, head.weight):
        for parameter in head.parameters(recurse=False):
            parameter.mul_(_rounded(LOGIT_SPREAD / spread))


def _scale_norm(module, scale):
    for name, parameter in module.named_parameters(recurse=False):
        one = 1.0 if name != "bias" and abs(float(parameter.mean())) < 0.5 else 0.0  # it multiplies by 1 + weight
        parameter.copy_((parameter + one) * scale - one)
