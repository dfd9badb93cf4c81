"""Where accelerate puts it, when the first place is too small. Scripts carry it along."""

import torch


def placing(placement, make_empty):
    """What from_pretrained is given; `make_empty` makes the model without memory for its weights."""
    model = make_empty()
    whole = sum(parameter.nbytes for parameter in {*model.parameters()})
    gpus = torch.cuda.device_count()
    # Of the first place accelerate keeps the largest layer free, for what comes back from elsewhere.
    largest = max(
        sum(parameter.nbytes for parameter in module.parameters())
        for module in model.modules()
        if type(module).__name__ in (getattr(model, "_no_split_modules", None) or ()) or not [*module.children()]
    )
    few, rest = int(whole / 2 + largest), 4 * whole
    if gpus > 1:
        sizes = {0: few, 1: rest}
    elif gpus:
        sizes = {0: few, "cpu": rest}
    else:
        sizes = {"cpu": few}
    return {"device_map": "auto", "max_memory": sizes}
