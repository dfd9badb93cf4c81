"""The architectures that probes need beside those of the matrix."""

from typing import Any

from matrix.architectures import Architecture, Kind

_SMALL = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
_GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 16}
_LINEAR_ATTENTION = {
    "num_hidden_layers": 4,  # three of linear attention, then one of full attention
    "head_dim": 16,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
}


def _decoder(name: str, model_type: str, *, without: tuple[str, ...] = (), **config: Any) -> Architecture:
    kept = {key: value for key, value in {**_SMALL, **config}.items() if key not in without}
    return Architecture(name, model_type, Kind.DECODER, "AutoModelForCausalLM", kept, kept_linear=("lm_head",))


def _rotated(name: str, limit: int, **rope: Any) -> Architecture:
    return _decoder(
        name, "llama", max_position_embeddings=limit, rope_parameters={"rope_theta": 10_000.0, **rope}, head_dim=16
    )


_ALL = (
    # One layer, so that the window can be read off what a token reaches.
    _decoder("mistral_window_4", "mistral", num_hidden_layers=1, sliding_window=4),
    _decoder(
        "qwen2_window_4", "qwen2", num_hidden_layers=1, use_sliding_window=True, sliding_window=4, max_window_layers=0
    ),
    _decoder("llama_long", "llama", max_position_embeddings=1024),
    _decoder("llama_leftover_window", "llama", sliding_window=16),  # of which its layers know nothing
    _decoder("qwen2", "qwen2", max_position_embeddings=512),
    # Without the soft cap, which is a row of its own.
    _decoder("gemma2", "gemma2", **_GEMMA, attn_logit_softcapping=None, final_logit_softcapping=None),
    _decoder("gemma2_softcap", "gemma2", **_GEMMA, attn_logit_softcapping=1.0, final_logit_softcapping=None),
    _decoder(
        "embedding_gemma",
        "gemma3_text",
        **_GEMMA | {"sliding_window": 8},
        num_hidden_layers=1,
        layer_types=["sliding_attention"],
        use_bidirectional_attention=True,
    ),
    _decoder(
        "gemma4",
        "gemma4_text",
        **_GEMMA,
        global_head_dim=16,
        hidden_size_per_layer_input=8,
        vocab_size_per_layer_input=256,
        num_kv_shared_layers=0,
    ),
    _decoder("doge", "doge"),
    _decoder(
        "qwen3_next",
        "qwen3_next",
        **_LINEAR_ATTENTION,
        mlp_only_layers=[0, 1, 2, 3],  # experts have no kernel for the golden run's float64
    ),
    _decoder("qwen3_5", "qwen3_5_text", **_LINEAR_ATTENTION),
    _decoder(
        "gpt_neo",
        "gpt_neo",
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=16,
        without=("num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
    ),
    # Each with a limit of 32 tokens, beyond which its frequencies change or are stretched from the beginning.
    _rotated("llama_dynamic_ntk", 32, rope_type="dynamic", factor=4.0),
    _rotated(
        "llama_longrope",
        128,
        rope_type="longrope",
        factor=4.0,
        short_factor=[1.0] * 8,
        long_factor=[4.0] * 8,
        original_max_position_embeddings=32,
    ),
    _rotated("llama_yarn", 128, rope_type="yarn", factor=4.0, original_max_position_embeddings=32),
    _rotated(
        "llama_3",
        128,
        rope_type="llama3",
        factor=4.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=32,
    ),
)
ARCHITECTURES = {architecture.name: architecture for architecture in _ALL}
