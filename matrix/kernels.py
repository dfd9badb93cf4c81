"""Which kernel an op is: the names under which torch's dispatcher and the packages know them."""

from matrix.observation import Evidence

# The fast path of nn.TransformerEncoderLayer: attention and MLP in one op.
ENCODER_LAYER = "transformer_encoder_layer"
# Fused ops by the kernel that they launch, as torch's dispatcher names them.
KERNEL_OF_OP: dict[str, str] = {
    "aten::_scaled_dot_product_flash_attention": "flash",
    "aten::_scaled_dot_product_flash_attention_for_cpu": "flash",
    "aten::_scaled_dot_product_efficient_attention": "mem_efficient",
    "aten::_scaled_dot_product_cudnn_attention": "cudnn",
    "aten::_scaled_dot_product_fused_attention_overrideable": "overrideable",
    "aten::_transformer_encoder_layer_fwd": ENCODER_LAYER,
}
# Packages that register their ops in a namespace of their own.
KERNEL_OF_NAMESPACE: dict[str, str] = {
    "flash_attn": "flash_attention_2",
    "flash_attn_3": "flash_attention_3",
    "flash_attn_4": "flash_attention_4",
}


def kernels_seen(evidence: Evidence) -> tuple[str, ...]:
    """The kernels that ran, by name.

    SDPA's math kernel decomposes before any dispatch mode can see it, so it is what answered the
    calls of SDPA that no fused op did.
    """
    seen = {KERNEL_OF_OP.get(op) or KERNEL_OF_NAMESPACE.get(op.partition("::")[0], op) for op in evidence.attention_ops}
    fused = sum(count for op, count in evidence.attention_ops.items() if op.startswith("aten::_scaled"))
    if evidence.sdpa_calls > fused:
        seen.add("math")
    if evidence.flex_calls > evidence.unfused_flex_calls:
        seen.add("flex_attention")
    if evidence.unfused_flex_calls:
        seen.add("flex_attention uncompiled")
    return tuple(sorted(seen)) or ("eager",)
