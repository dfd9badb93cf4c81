"""Where accelerate puts it. Scripts carry it along."""


def placing(placement, make_empty):
    """What from_pretrained is given; `make_empty` makes the model without memory for its weights."""
    return {"device_map": "auto"}
