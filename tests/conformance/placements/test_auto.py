"""The device_map `auto`."""

from conformance.placements.auto import placing


def test_what_from_pretrained_is_given() -> None:
    assert placing("auto", lambda: None) == {"device_map": "auto"}
