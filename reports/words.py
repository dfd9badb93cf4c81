"""What a library says, without what differs from run to run: paths, addresses, ids, hashes, numbers, order."""

import re
from functools import lru_cache

# A path or a web address, with what is written onto it.
_PATH = "/"
# In this order: what stands first may hold what comes after.
_PASSING = (
    (re.compile(r"\b0x[0-9a-f]+\b", re.IGNORECASE), "#"),
    (re.compile(r"\btmp\w{8}\b"), "#"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), "#"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{7,}\b", re.IGNORECASE), "#"),
    # A number stands alone, or with its unit: what belongs to a name, as in gemma2 and load_in_8bit, does not pass.
    (re.compile(r"(?<![A-Za-z_\d])\d+(?:\.\d+)*(?:e[+-]?\d+)?(?:[munk]?s|[kKMGT]i?B)?(?![A-Za-z_\d])"), "#"),
)
_WORD = re.compile(r"[^\s\[\](){}<>,;:'\"`=|]+")
_MODEL = re.compile(r"\b[A-Z]\w*(?:For[A-Z]\w*|Model)\b")
_LAST_HUMP = re.compile(r"[A-Z][a-z0-9]*$")


@lru_cache(maxsize=4096)
def words_of(text: str) -> frozenset[str]:
    """The words of a text, whatever their order: two texts with the same words say the same."""
    text = " ".join(_PATH if "/" in part or "\\" in part else part for part in text.split())
    for passing, instead in _PASSING:
        text = passing.sub(instead, text)
    return frozenset(word for found in _WORD.findall(text) if (word := found.strip(".")))


def of_any_model(text: str) -> str:
    """The text with classes of models made one: what a library says of each of them is one thing."""
    return _MODEL.sub("<model>", text)


def kind_of_module(name: str) -> str:
    """What modules of that class are in any model: `LlamaAttention` and `GPTNeoXAttention` are `Attention`."""
    found = _LAST_HUMP.search(name)
    return found[0] if found else name
