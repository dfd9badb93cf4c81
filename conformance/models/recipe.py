"""How a fixture's weights are made. Needs only torch and transformers: reproducing scripts carry it along."""

import math
import re

import torch
import transformers

_QUERY_KEY = re.compile(r"(q_proj|k_proj|qkv_proj|[qk]_lin|query|key|\.q|\.k|query_key_value|c_attn)\.weight$")
_LOUD = re.compile(
    r"(v_proj|o_proj|out_proj|(v|out)_lin|value|\.v|\.o|dense|c_proj|wo|fc[12]|fc_(in|out)|lin[12]|c_fc|\w+_proj|dense_\w+|wi)"
    r"\.weight$|experts\.\w+_proj$"
)
_ROUTER = re.compile(r"\.(gate|router)\.weight$")
_INTO_RESIDUAL = re.compile(r"(o_proj|out_proj|down_proj)(\.weight)?$")
_QUERY_KEY_NORM = re.compile(r"\.[qk]_norm\.weight$")
_POST_NORM = re.compile(r"LayerNorm|(sa|output)_layer_norm")
_IN_ATTENTION = re.compile(r"attn|attention|mamba|mixer", re.IGNORECASE)
_EMBEDDING = re.compile(r"(embed\w*|word_embeddings|wpe|position_embeddings)\.weight$")
ATTENTION_ENTROPY = 0.7  # mean over heads and rows, as a share of a uniform row's
LOGIT_SPREAD = 2.0  # standard deviation
# One feature of a norm stands out, as in real models: without it LLM.int8() would have no outliers to keep apart.
# Not where the residual stream itself runs through the norm: there it would drown the rest.
OUTLIER, OUTLIER_SIZE = 3, 4.0
# Standard deviations of the weights through which attention and MLP reach the residual stream: what attention says
# is the signal, what the MLP adds to it is mostly rounding.
ATTENTION_LOUDNESS, MLP_LOUDNESS = 0.2, 0.1
# Standard deviation of what a router scores its experts by. Which are chosen follows from the token alone, by values
# far from each other, that no layer adds to: rounding cannot turn a choice, and an honest run chooses as golden does.
ROUTER_SPREAD, ROUTED_BY = 1.0, 1.0


def build_model(model_type, auto_class, config, seed=0):
    """A small model with weights under which mistakes show, in float32 and eval mode.

    With a library's own initialisation attention is almost uniform, and a softmax scale wrong by 10 %
    drowns in bfloat16 noise. Here values and outputs are loud beside the residual stream and the MLP,
    biases and norms are drawn rather than left at 0 and 1, and scales are set by measurement: that of queries
    and keys (attention entropy), of routers (spread of their scores) and of the last norm (spread of the logits).
    """
    torch.manual_seed(seed)
    model_config = transformers.AutoConfig.for_model(model_type, **config)
    model_config._attn_implementation = "eager"
    model = getattr(transformers, auto_class).from_config(model_config).float().eval()
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    query_key = []
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if _is_kept(name, parameter, model):
                continue
            if parameter.ndim < 2:
                one = 1.0 if name.endswith("weight") else 0.0
                parameter.copy_(one + 0.1 * torch.randn_like(parameter))
                if len(parameter) == model_config.get_text_config().hidden_size and not _POST_NORM.search(name):
                    parameter[OUTLIER] *= OUTLIER_SIZE
                if _QUERY_KEY_NORM.search(name):
                    query_key.append(parameter)
            elif _QUERY_KEY.search(name):
                query_key.append(parameter)
            elif _LOUD.search(name):
                loudness = ATTENTION_LOUDNESS if _IN_ATTENTION.search(name) else MLP_LOUDNESS
                parameter.mul_(loudness / parameter.std())
            elif _EMBEDDING.search(name) and not (tied and parameter is model.get_input_embeddings().weight):
                parameter.mul_(0.2 / parameter.std())
        inputs = _inputs(model_config)
        _route_by_token(model, inputs)
        _sharpen_attention(model, query_key, inputs)
        _spread_logits(model, inputs)
    return model


def _is_kept(name, parameter, model):
    """Whether a class made it as it is for a reason: fixed tables, time steps and decays of recurrent layers.

    Drawn around 0 a time step is so small that what such a layer remembers no longer shows.
    """
    if not parameter.requires_grad or name.endswith("dt_proj.bias"):
        return True
    owner, _, kind = name.rpartition(".")
    return parameter.ndim < 2 and kind != "bias" and "norm" not in type(model.get_submodule(owner)).__name__.lower()


def calibration(model):
    """What the scales were set by, measured again on tokens that the recipe has not seen.

    float16 reaches to 65504: the largest hidden state says how far a fixture stays from there.
    """
    torch.manual_seed(1)
    with torch.no_grad():
        inputs = _inputs(model.config)
        outputs = model(**inputs, output_hidden_states=True)
        states = [getattr(outputs, name, None) or () for name in ("hidden_states", "encoder_hidden_states")]
        states += [getattr(outputs, "decoder_hidden_states", None) or ()]
        entropy = _entropy(model, inputs)
        return {
            "attention_entropy": None if entropy is None else round(entropy, 4),
            "logit_spread": round(outputs.logits.std().item(), 4),
            "largest_logit": round(outputs.logits.abs().max().item(), 4),
            "largest_hidden_state": round(max(state.abs().max().item() for some in states for state in some), 4),
        }


def _inputs(config):
    tokens = torch.randint(4, config.vocab_size, (4, 64))
    return {"input_ids": tokens, "decoder_input_ids": tokens} if config.is_encoder_decoder else {"input_ids": tokens}


def _route_by_token(model, inputs):
    """Keep a feature of the residual stream for each expert, which only embeddings write and only routers weigh."""
    named = dict(model.named_parameters())
    routers = [parameter for name, parameter in named.items() if _ROUTER.search(name)]
    if not routers:
        return
    experts, hidden = routers[0].shape
    levels, kept = torch.linspace(ROUTED_BY, -ROUTED_BY, experts), slice(hidden - experts, hidden)
    for embedding in model.get_input_embeddings().weight:
        embedding[kept] = levels[torch.randperm(experts)]
    for name, parameter in named.items():
        if _INTO_RESIDUAL.search(name):
            parameter[..., kept, :] = 0
        elif parameter.shape == (hidden,):
            parameter[kept] = 1
    for name, parameter in named.items():
        if _ROUTER.search(name):
            parameter.copy_(torch.eye(hidden)[kept])
            seen = []
            module = model.get_submodule(name.removesuffix(".weight"))
            hook = module.register_forward_pre_hook(lambda module, given, seen=seen: seen.append(given[0]))
            model(**inputs)
            hook.remove()
            parameter.mul_(ROUTER_SPREAD / (seen[0] @ parameter.T).std())


def _sharpen_attention(model, query_key, inputs):
    """Bisect the common scale of queries and keys until the attention entropy is ATTENTION_ENTROPY."""
    if _entropy(model, inputs) is None:
        return
    for parameter in query_key:
        if parameter.ndim > 1:
            parameter.div_(parameter.std())
    low, high, scale = -8.0, 2.0, 1.0
    for _ in range(9):
        middle = (low + high) / 2
        for parameter in query_key:
            parameter.mul_(2**middle / scale)
        scale = 2**middle
        low, high = (middle, high) if _entropy(model, inputs) > ATTENTION_ENTROPY else (low, middle)


def _entropy(model, inputs):
    """The mean over heads and rows, as a share of a uniform row's; None of a model without attention."""
    outputs = model(**inputs, output_attentions=True)
    found = []
    for name in ("attentions", "encoder_attentions", "decoder_attentions", "cross_attentions"):
        for weights in getattr(outputs, name, None) or ():
            keys = (weights > 0).sum(-1)
            entropy = -(weights * weights.clamp_min(1e-30).log()).sum(-1)
            found.append((entropy / keys.clamp_min(2).log())[keys >= 8].mean().item())
    return math.fsum(found) / len(found) if found else None


def _spread_logits(model, inputs):
    norms = []
    hooks = [
        module.register_forward_hook(lambda module, *_: norms.append(module))
        for module in model.modules()
        if "norm" in type(module).__name__.lower()
    ]
    spread = model(**inputs).logits.std()
    for hook in hooks:
        hook.remove()
    for parameter in norms[-1].parameters():
        parameter.mul_(LOGIT_SPREAD / spread)
