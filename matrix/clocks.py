"""What made a GPU lower its clocks while something was measured, as its driver counts it."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

_COUNTERS = "reasons_counters"  # at the end of the name of the element that holds them
_SHARE = 0.02  # of the time: less is no reason for anything
_WORDS = {"power_cap": "its power limit", "therm": "its temperature", "brak": "its power supply"}  # by a part of a name


def slowed() -> dict[str, float]:
    """Seconds that the first visible GPU ran slower than it could, by reason, since its driver was loaded.

    Empty where there is no GPU, and where its driver does not count.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return {}
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip() or "0"
    query = [program, "-q", "-x", "-i", first]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
    return counted(answer.stdout) if answer.returncode == 0 else {}


def counted(document: str) -> dict[str, float]:
    """The same, of what `nvidia-smi -q -x` prints."""
    try:
        root = ElementTree.fromstring(document)
    except ElementTree.ParseError:
        return {}
    found: dict[str, float] = {}
    for counters in root.iter():
        for counter in counters if counters.tag.endswith(_COUNTERS) else ():
            amount, _, unit = (counter.text or "").strip().partition(" ")
            name = counter.tag.removeprefix(counters.tag)
            words = next((words for part, words in _WORDS.items() if part in name), "")
            if words and unit == "us" and amount.isdigit():
                found[words] = found.get(words, 0.0) + int(amount) / 1e6
    return found


def slower(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> Iterator[str]:
    """A line for each reason that held for a share of those seconds that may show in a time."""
    for words, whole in after.items():
        share = (whole - before.get(words, whole)) / seconds
        if share > _SHARE:
            yield f"the GPU lowered its clocks for {words} in {min(share, 1):.0%} of the time"
