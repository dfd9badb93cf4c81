"""The last block of each stack elsewhere than the rest. Scripts carry it along."""

from conformance.maps import map_with_last_away

PLACES = {"cpu_offload": (0, "cpu"), "disk": (0, "disk"), "cpu_disk": ("cpu", "disk")}


def placing(placement, make_empty):
    """What from_pretrained is given; `make_empty` makes the model without memory for its weights."""
    return {"device_map": map_with_last_away(make_empty(), *PLACES[placement])}
