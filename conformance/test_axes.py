"""Does the matrix speak of everything that the installed libraries offer?"""

from matrix.axes import Attention


def test_every_attention_name_of_transformers_is_on_the_axis() -> None:
    """A name that the installed transformers accepts and the matrix does not try would go unmeasured."""
    from conformance import spellings

    unmeasured = spellings.attention_names() - {attention.value for attention in Attention}
    assert not unmeasured, f"transformers {spellings.RELEASE} accepts {sorted(unmeasured)}: not on the attention axis"
