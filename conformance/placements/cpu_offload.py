"""Everything on GPU 0 but the last block of each stack. Scripts carry it along."""

import torch


def device_map(make_empty):
    """What from_pretrained is given; `make_empty` makes the model without memory for its weights."""
    return offload_map(make_empty())


def offload_map(model):
    """A device map that leaves the last block of each stack on the CPU and puts the rest on GPU 0."""
    stacks = [name for name, module in model.named_modules() if isinstance(module, torch.nn.ModuleList)]
    outermost = [name for name in stacks if not any(name.startswith(other + ".") for other in stacks)]
    offloaded = {f"{name}.{len(model.get_submodule(name)) - 1}" for name in outermost}
    placed = {}

    def place(module, prefix):
        for name, child in module.named_children():
            path = prefix + name
            if path in offloaded:
                placed[path] = "cpu"
            elif any(block.startswith(path + ".") for block in offloaded):
                place(child, path + ".")
            else:
                placed[path] = 0

    place(model, "")
    return placed
