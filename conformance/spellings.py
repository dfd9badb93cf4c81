"""Every difference between releases of the libraries, in one place. No version check stands anywhere else."""

import contextlib
import dataclasses
import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

# Of a release such as 5.24.0.dev0 the numbers.
RELEASE = tuple(map(int, re.findall(r"\d+", transformers.__version__)[:3]))

# transformers renamed the argument in 4.56 and kept the old name as an alias.
DTYPE_ARGUMENT = "dtype" if RELEASE >= (4, 56) else "torch_dtype"

# Experts in plain torch: the fused product that transformers 5 takes by default has no kernel for float64.
PLAIN_EXPERTS = (
    {"experts_implementation": "eager"}
    if hasattr(transformers.PreTrainedModel, "get_correct_experts_implementation")
    else {}
)

# Class flags by which a model declares what it supports; 5.x merged the flash attention ones.
DECLARED_FLAGS = (
    "_supports_sdpa",
    "_supports_flash_attn",
    "_supports_flash_attn_2",
    "_supports_flex_attn",
    "_supports_attention_backend",
    "_supports_static_cache",
)


# What else a class says of itself, true where it says anything.
CLASS_FLAGS = (
    *DECLARED_FLAGS,
    "_compatible_flash_implementations",
    "supports_gradient_checkpointing",
    "_can_compile_fullgraph",
    "_tp_plan",
    "_no_split_modules",
)


# What every config of transformers 4 says, even that of a part which takes no fields but its own.
FIELDS_OF_EVERY_CONFIG = frozenset(transformers.PretrainedConfig().to_dict()) if RELEASE < (5,) else frozenset[str]()


def text_config(config: Any) -> Any:
    """The config of the model's text, or the config itself; where there are two that of what decodes."""
    try:
        return config.get_text_config()
    except ValueError:
        return config.get_text_config(decoder=True)


def left_unquantised(model: Any) -> list[str]:
    """The modules that the library's quantisers leave alone by design.

    That is heads, what is tied to them, the last one, what the class keeps in float32, and routers that are a layer of
    their own class (transformers#44588).
    """
    if RELEASE >= (5,):
        from transformers.quantizers.base import get_keys_to_not_convert
    else:
        from transformers.integrations.bitsandbytes import get_keys_to_not_convert
    linear = [(name, type(module)) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    routers = {name.rpartition(".")[2] for name, kind in linear if "Router" in kind.__name__}
    return sorted({*get_keys_to_not_convert(model), *(model._keep_in_fp32_modules or ()), *routers})


def kept_in_float32(model: Any) -> list[str]:
    """The modules whose parameters the class keeps in float32 whatever dtype is asked for."""
    lists = (getattr(model, name, None) or () for name in ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"))
    return sorted({name for listed in lists for name in listed})


def made_of_text(auto_class: str, config: Any) -> bool:
    """Whether from_pretrained hands the class the text part of such a config, and from_config the whole of it.

    So it is in transformers 4.57; 4.48 hands on the whole in both, 5 the part.
    """
    auto = getattr(transformers, auto_class)
    if "text_config" in inspect.getsource(auto.from_config.__func__):
        return False
    if "text_config" not in inspect.getsource(auto.from_pretrained.__func__):
        return False
    found = auto._model_mapping.get(type(config), None)
    return found is not None and getattr(found, "config_class", None) is config.sub_configs.get("text_config", auto)


def without_memory(make: Callable[[], Any]) -> Any:
    """The model that `make` makes, without memory for its weights.

    With it where a class reads numbers while it is made, as some of transformers 4 do: rates of dropped paths,
    scalars of activations.
    """
    try:
        with default_dtype_kept(), torch.device("meta"):
            return make()
    except RuntimeError:
        return make()


def made_in_float32(model: Any) -> list[str]:
    """What a class makes in float32 when it is asked for another dtype, by the last parts of the parameters' names."""
    made = without_memory(lambda: type(model)._from_config(model.config, **{DTYPE_ARGUMENT: torch.bfloat16}))
    found = {name for name, parameter in made.named_parameters() if parameter.dtype is torch.float32}
    return sorted(
        {".".join(name.split(".")[-2:]) if name.endswith("weight") else name.split(".")[-1] for name in found}
    )


_SDP_BACKENDS = {
    "flash": "FLASH_ATTENTION",
    "mem_efficient": "EFFICIENT_ATTENTION",
    "math": "MATH",
    "cudnn": "CUDNN_ATTENTION",
}


def pinned(kernel: str) -> AbstractContextManager[Any]:
    """The context in which `scaled_dot_product_attention` may use this kernel alone; any if it is `unpinned`."""
    if kernel not in _SDP_BACKENDS:
        return contextlib.nullcontext()
    backend = getattr(torch.nn.attention.SDPBackend, _SDP_BACKENDS[kernel])
    return torch.nn.attention.sdpa_kernel([backend])


def to_bettertransformer(model: Any) -> Any:
    """The method that transformers had until 5.0; optimum does the work, or refuses."""
    return model.to_bettertransformer()


def last_logits_only(model: Any) -> dict[str, int]:
    """What to tell a forward pass so that only the last position goes through the head; 4.50 renamed it."""
    known = inspect.signature(model.forward).parameters
    return {name: 1 for name in ("logits_to_keep", "num_logits_to_keep") if name in known}


@contextlib.contextmanager
def default_dtype_kept() -> Iterator[None]:
    """transformers 4.48 leaves the model's dtype behind as torch's default when a load raises."""
    usual = torch.get_default_dtype()
    try:
        yield
    finally:
        torch.set_default_dtype(usual)


def make_static_cache(model: Any, rows: int, slots: int) -> tuple[Any, Callable[[torch.Tensor], torch.Tensor]]:
    """A `StaticCache` for that many rows and tokens, and what its caller must do to an attention mask."""
    arguments: dict[str, Any] = {"config": model.config, "max_cache_len": slots}
    if RELEASE < (4, 54):  # later ones find out by themselves, at the first call
        arguments |= {"max_batch_size": rows, "device": model.device, "dtype": model.dtype}
    cache = transformers.StaticCache(**arguments)
    if model.config.is_encoder_decoder:
        cache = transformers.EncoderDecoderCache(cache, transformers.DynamicCache())
    if model.config.model_type == "bloom":  # places its ALiBi by a mask that is as long as the cache
        return cache, lambda mask: torch.nn.functional.pad(mask, (0, slots - mask.shape[-1]))
    return cache, lambda mask: mask


def static_cache_arguments(model: str, rows: int, slots: int) -> str:
    """How a script makes a `StaticCache` of a model of that name."""
    said = f"config={model}.config, max_cache_len={slots}"
    return f"{said}, max_batch_size={rows}, device={model}.device, dtype={model}.dtype" if RELEASE < (4, 54) else said


def cache_argument(model: Any) -> str | None:
    """What a forward pass calls the cache that it is given and gives back, or None; of Mamba 5.24 renamed it."""
    known = inspect.signature(model.forward).parameters
    return next((name for name in ("past_key_values", "cache_params", "cache") if name in known), None)


def make_dynamic_cache(model: Any) -> Any:
    """An empty `DynamicCache` with the layers of the model, which remembers enough to be cropped if it can."""
    told = "config" in inspect.signature(transformers.DynamicCache.__init__).parameters
    cache = transformers.DynamicCache(config=model.config) if told else transformers.DynamicCache()
    if hasattr(cache, "activate_past_recording"):
        cache.activate_past_recording()
    return cache


def first_cache(model: Any) -> Any:
    """What a loop begins with: nothing, but for a model that makes a cache and does not give it back."""
    if model.config.model_type == "recurrent_gemma":
        return transformers.DynamicCache(config=model.config)
    return None


# What the flex_attention of transformers goes through: its entry, the compiled block mask, and the
# unfused arithmetic that torch falls back to, without a word, once it has recompiled too often.
_FLEX_ENTRY = (
    "transformers.integrations.flex_attention",
    "compile_friendly_flex_attention" if RELEASE >= (4, 50) else "flex_attention",
)
_FLEX_MASK = ("transformers.masking_utils", "create_block_mask")
_FLEX_UNFUSED = ("torch._higher_order_ops.flex_attention", "math_attention")


@contextlib.contextmanager
def counting_flex_calls(entered: Callable[[], None], unfused: Callable[[], None]) -> Iterator[None]:
    """Call `entered` whenever transformers enters flex_attention, `unfused` whenever it ran uncompiled.

    What is compiled runs without the dispatch mode that watches the rest: under a mode torch would not
    compile, and something else than the user's code would run.
    """

    def on_unfused(*args: Any) -> None:
        if not isinstance(args[0], FakeTensor):  # fake ones come from tracing, not from running
            unfused()

    with contextlib.ExitStack() as stack:
        for place, wanted in ((_FLEX_ENTRY, lambda *_: entered()), (_FLEX_MASK, None), (_FLEX_UNFUSED, on_unfused)):
            stack.enter_context(_wrapped(*place, wanted))
        yield


@contextlib.contextmanager
def _wrapped(module_name: str, name: str, before: Callable[..., None] | None) -> Iterator[None]:
    module = sys.modules.get(module_name)  # what nobody has imported, nobody calls
    original = getattr(module, name, None)
    if original is None:
        yield
        return

    def call(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args)
        with _disable_current_modes():
            return original(*args, **kwargs)

    setattr(module, name, call)
    try:
        yield
    finally:
        setattr(module, name, original)


def forget_compiled() -> None:
    """Start as a fresh process would: torch stops compiling a function that was recompiled too often."""
    torch._dynamo.reset()


def batching_config(*, page_size: int, **known: Any) -> Any:
    """How `generate_batch` keeps its cache: in pages, which 5.17 called blocks, and through the attention asked for.

    From 5.20 on another implementation than the model's may be taken, unless that is forbidden; before, unless a paged
    one is asked for by name, which for sdpa is no name any more.
    """
    config = transformers.generation.ContinuousBatchingConfig
    names = {field.name for field in dataclasses.fields(config)}
    known["page_size" if "page_size" in names else "block_size"] = page_size
    if "auto_switch_to_flash" in names:
        known["auto_switch_to_flash"] = False
    return config(**known)


def compile_graph(graph: Any, inputs: Any, mode: str = "default") -> Callable[..., Any]:
    """What `torch.compile(mode=mode)` makes of a graph that dynamo has traced."""
    from torch._inductor import list_mode_options
    from torch._inductor.compile_fx import compile_fx

    return cast(Callable[..., Any], compile_fx(graph, inputs, config_patches=list_mode_options(mode)))


def graph_breaks() -> Counter[str]:
    """Where torch.compile gave up in this process so far: the reason -> how often."""
    told = torch._dynamo.utils.counters["graph_break"]
    return Counter({str(reason).partition("\n")[0]: count for reason, count in told.items()})


def graphs_traced() -> int:
    """How many graphs torch.compile traced in this process so far, whoever asked for it."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def recompiled_since(moment: float) -> tuple[str, ...]:
    """Why torch.compile compiled something once more since a moment (`time.time()`), the first line of each reason."""
    found = (each for each in torch._dynamo.utils.get_compilation_metrics() if (each.start_time or 0) >= moment)
    return tuple(str(each.recompile_reason).partition("\n")[0] for each in found if each.recompile_reason)


def attention_names() -> set[str]:
    """The names that `attn_implementation` accepts here, without those for continuous batching."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    listed = getattr(ALL_ATTENTION_FUNCTIONS, "valid_keys", ALL_ATTENTION_FUNCTIONS.keys)()
    # 4.57 spells them `sdpa_paged`, 5.x `paged|sdpa`.
    return {name for name in listed if "paged" not in name} | {"eager"}


def quieten() -> None:
    """Stop progress bars; warnings are collected as evidence instead of printed."""
    transformers.logging.disable_progress_bar()
    transformers.logging.disable_default_handler()
