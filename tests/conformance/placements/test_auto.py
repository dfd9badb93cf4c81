"""The device_map `auto`."""

from conformance.placements.auto import device_map


def test_what_from_pretrained_is_given() -> None:
    assert device_map(lambda: None) == "auto"
