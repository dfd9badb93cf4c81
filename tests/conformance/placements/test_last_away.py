"""The device_maps `cpu_offload`, `disk` and `cpu_disk`."""

import pytest

from conformance.placements.last_away import placing
from tests.placed import empty


@pytest.mark.parametrize(
    ("name", "architecture", "near", "far", "away"),
    [
        ("cpu_offload", "llama", 0, "cpu", {"model.layers.1"}),
        ("disk", "t5", 0, "disk", {"encoder.block.1", "decoder.block.1"}),
        ("cpu_disk", "t5", "cpu", "disk", {"encoder.block.1", "decoder.block.1"}),
    ],
)
def test_what_from_pretrained_is_given(name: str, architecture: str, near: object, far: str, away: set[str]) -> None:
    placed = placing(name, lambda: empty(architecture))["device_map"]
    assert {part for part, place in placed.items() if place == far} == away
    assert {*placed.values()} == {near, far}
