"""The truth for a dtype and a quantiser, made once and kept on the disk for every configuration that has it.

As in the suite golden is eager attention one precision up, each row alone and unpadded; the baseline is eager attention
in the dtype itself, over the padded batch unless that errs by more than rounding explains.
"""

from typing import Any

import torch

from conformance.advising.prompts import FORCED, Batch, judged_batch
from conformance.advising.task import truth_of
from conformance.judging.precision import exactly
from conformance.judging.references import ORDINARY
from conformance.models.batches import alone, extended, judged, moved, others, rows_of, takes_positions, told
from conformance.models.loading import Source, load_reference
from conformance.models.outputs import logits_of
from conformance.rooms import Does
from conformance.spellings import last_logits_only
from matrix.cell import Cell


def make_truth(cell: Cell, source: Source, does: Does, device: torch.device, longest: int, folder: str) -> None:
    """Golden and baseline logits of shape (rows, positions, classes), and what went in."""
    golden = load_reference(cell, source, does, device, golden=True)
    batch, forced = judged_batch(source, golden.config, longest, str(cell.padding))
    whole = forced_batch(golden, batch, forced, cell)
    kept = FORCED if cell.workload.decodes else 0
    counts = source.architecture.positions in ("fixed", "length")  # a row alone is another model
    with torch.no_grad(), exactly(cell.dtype, True):
        truth = (_padded if counts else _each_alone)(golden, whole, kept, source)
    summed = golden.weight_sum
    del golden
    _forget(device)
    baseline = load_reference(cell, source, does, device, golden=False)
    if baseline.weight_sum != summed:
        raise RuntimeError("golden and baseline have different weights: some were drawn, not loaded")
    with torch.no_grad(), exactly(cell.dtype, False):
        usual = _padded(baseline, whole, kept, source)
        if not counts:
            apart = _each_alone(baseline, whole, kept, source)
            where = positions_judged(whole, truth, kept)
            off, known = (float((one - truth)[where].abs().double().mean()) for one in (usual, apart))
            usual = usual if off <= ORDINARY * known else apart
    target = truth_of(folder, cell)
    part = target.with_suffix(".part")  # who goes on after this was cut off must not find half of it
    torch.save({"batch": batch, "forced": forced, "golden": truth, "baseline": usual}, part)
    part.rename(target)


def forced_batch(model: Any, batch: Batch, forced: torch.Tensor, cell: Cell) -> Batch:
    """What a teacher-forced pass is given whose last FORCED logits are those of the steps."""
    if not cell.workload.decodes:
        return batch
    if model.config.is_encoder_decoder:
        start = torch.full((len(forced), 1), start_of(model), dtype=torch.int64)
        return {**batch, "decoder_input_ids": torch.cat([start, forced[:, :-1]], 1)}
    return extended(batch, torch.cat([batch["input_ids"], forced], 1), takes_positions(model))  # type: ignore[no-any-return]


def start_of(model: Any) -> int:
    """The token that a decoder begins with."""
    known = (getattr(one, "decoder_start_token_id", None) for one in (model.generation_config, model.config))
    return next((int(one) for one in known if isinstance(one, int)), 0)


def positions_judged(batch: Batch, logits: torch.Tensor, kept: int) -> torch.Tensor:
    """Where they are held against the truth, as a bool tensor of shape (rows, positions)."""
    return torch.ones(logits.shape[:2], dtype=torch.bool) if kept else judged(batch, logits).cpu()


def _padded(model: Any, batch: Batch, kept: int, source: Source) -> torch.Tensor:
    given = told(batch, model, source.architecture)
    return _logits(model, given, kept)


def _each_alone(model: Any, batch: Batch, kept: int, source: Source) -> torch.Tensor:
    rows, places = [], []
    for row in range(rows_of(batch)):
        own, where = alone(batch, row)
        if "input_ids" not in own or not others(own):
            own.pop("attention_mask", None)
        rows.append(_logits(model, own, kept)[0])
        places.append(slice(None) if kept or not isinstance(where, torch.Tensor) else where)
    if kept:
        return torch.stack(rows)
    length = next((len(where) for where in places if isinstance(where, torch.Tensor)), len(rows[0]))
    found = rows[0].new_zeros((len(rows), length, rows[0].shape[-1]))
    for row, (logits, where) in enumerate(zip(rows, places, strict=True)):
        by_position = not isinstance(where, torch.Tensor) or int(where.sum()) == len(logits)
        found[row, where if by_position else slice(None)] = logits
    return found


def _logits(model: Any, batch: Batch, kept: int) -> torch.Tensor:
    only = dict.fromkeys(last_logits_only(model), kept) if kept and not model.config.is_encoder_decoder else {}
    found = logits_of(model(**moved(batch, model.device, model.dtype), **only))
    return found[:, -kept:].cpu() if kept else found.cpu()


def _forget(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
