"""What one call of attention looked at: its map by the model file's own formula, or its queries and keys.

The map is computed in chunks of query rows, in float32, by the file's `eager_attention_forward`: softcap, learned
sinks, position bias, grouped keys and windows are those of the model. Queries and keys are kept only where a sample
of rows computed from them is the model's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from studio.attention.checks import QK_BOUND, Sums
from studio.attention.interface import Call, Record, Recorder
from studio.attention.qk import Mask, QueryKeys

if TYPE_CHECKING:
    from torch import Tensor

# Of the weights of one chunk; the formulas hold three or four such arrays at a time.
CHUNK_BYTES = 8 << 20
SAMPLE_BLOCKS, SAMPLE_ROWS = 4, 4


def read(call: Call, recorder: Recorder) -> Record:
    """Return the record of one call: queries and keys where asked for, smaller and true, else the full map."""
    return (_queries(call, recorder) if recorder.queries else None) or _stream(call, recorder)


def _stream(call: Call, recorder: Recorder) -> Record:
    batch, n_heads, n_queries, _ = call.query.shape
    n_keys = call.key.shape[-2]
    room = recorder.room((batch * n_heads, n_queries, n_keys))
    sums = Sums(n_queries, n_keys, call.causal)
    call = in_float32(call)
    worst = 0.0
    for rows in chunks(n_queries, 4 * batch * n_heads * n_keys):
        weights, sink, difference = weights_of(call, rows)
        room.write(rows, weights)
        sums.add(np.arange(rows.start, rows.stop), weights, sink)
        worst = np.maximum(worst, difference)
    return Record(call.name, room.done(), n_heads, sums, float(worst) / _largest_output(call))


def weights_of(call: Call, rows: slice) -> tuple[np.ndarray, np.ndarray | None, float]:
    """Return some rows of the model's own weights [head, row, key], the share of its sinks, and an error.

    The error is the largest difference between these weights times the values and the layer's real output.
    """
    import torch

    allowed, additive = mask_rows(call, rows)
    n_queries = call.query.shape[-2]
    options = {
        # What has a row for each query (a position bias) goes along with the chunk.
        name: option[..., rows, :] if _has_rows(option, n_queries) else option
        for name, option in call.options.items()
    }
    with torch.autocast(call.query.device.type, enabled=False):
        ours, weights = call.formula(call.module, call.query[:, :, rows], call.key, call.value, additive, **options)
    batch, _, n_heads, _ = ours.shape
    difference = (ours - call.output.reshape(batch, n_queries, n_heads, -1)[:, rows].float()).abs()
    if allowed is not None:
        # A query that may look at nothing (padding) has no distribution; implementations fill in what they like.
        looking = allowed.any(dim=-1, keepdim=True)
        weights = torch.where(looking, weights, 0.0)
        difference = torch.where(looking.transpose(1, 2), difference, 0.0)
    sink = _sink_share(call, rows, additive)
    return weights.flatten(0, 1).cpu().numpy(), sink, difference.max().item()


def mask_rows(call: Call, rows: slice) -> tuple[Tensor | None, Tensor | None]:
    """Return which keys some queries may look at, and the same as the float32 mask that eager attention adds."""
    import torch

    n_queries, n_keys = call.query.shape[-2], call.key.shape[-2]
    device, mask = call.query.device, call.mask
    if mask is None:
        if not _is_causal(call) or n_queries == 1:
            return None, None
        # SDPA builds the triangle of an unpadded causal input itself; here it must be written out.
        steps = torch.arange(n_keys, device=device) - torch.arange(rows.start, rows.stop, device=device)[:, None]
        allowed = steps <= 0
        window = call.options.get("sliding_window")
        if window is not None:
            allowed &= steps > -window
        allowed, added = allowed[None, None], torch.zeros((), device=device)
    else:
        mask = (mask[..., rows, :] if mask.shape[-2] == n_queries else mask)[..., :n_keys]
        is_bool = mask.dtype == torch.bool
        allowed = mask if is_bool else mask > torch.finfo(mask.dtype).min / 2
        added = torch.zeros((), device=device) if is_bool else mask.float()
    return allowed, torch.where(allowed, added, torch.finfo(torch.float32).min)


def _queries(call: Call, recorder: Recorder) -> Record | None:
    """Return a record of queries and keys; None where these are not smaller or do not say it all."""
    batch, n_heads, n_queries, width = call.query.shape
    n_keys = call.key.shape[-2]
    half = call.query.element_size() == 2
    needed = (call.query.numel() + call.key.numel()) * (2 if half else 4) + n_heads * n_queries * 8
    own = any(call.options.get(name) is not None for name in ("softcap", "s_aux"))
    if batch > 1 or own or needed >= n_heads * n_queries * n_keys * 4:
        return None
    mask = _compact(call, recorder)
    scale = call.options.get("scaling")
    layer = QueryKeys(
        _array(call.query[0], half),
        _array(call.key[0], half),
        np.full((n_heads, n_queries), np.inf),
        width**-0.5 if scale is None else float(scale),
        mask,
    )
    sums = Sums(n_queries, n_keys, call.causal)
    sample = [_rows_at(share / (SAMPLE_BLOCKS - 1), n_queries) for share in range(SAMPLE_BLOCKS)]
    exact = in_float32(call)
    own_rows = [weights_of(exact, rows) for rows in sample]
    for rows in sample:
        layer.lse[:, rows] = log_sum_exp(layer, rows)
    # Another formula than the plain one shows here; rounding to 16 bits is another matter.
    if not half and not _sample_error(layer, sample, own_rows) <= QK_BOUND:
        return None
    for rows in chunks(n_queries, 16 * n_heads * n_keys):
        layer.lse[:, rows] = log_sum_exp(layer, rows)
    kept = [_kept(array, recorder) for array in (layer.query, layer.key, layer.lse)]
    layer = QueryKeys(*kept, layer.scale, mask)
    for rows in sample:
        sums.add(np.arange(rows.start, rows.stop), np.stack([layer.tile(h, rows, slice(None)) for h in range(n_heads)]))
    output_error = float(np.max([difference for *_, difference in own_rows])) / _largest_output(call)
    return Record(call.name, layer, n_heads, sums, output_error, _sample_error(layer, sample, own_rows))


def log_sum_exp(layer: QueryKeys, rows: slice) -> np.ndarray:
    """Return the log of the sum of the exponentials of some rows' scores [head, row], float64; +inf for no key."""
    import torch

    n_heads, _, n_keys = layer.shape
    n_groups = len(layer.key)
    columns = layer.mask.columns(rows, n_keys)
    query = torch.tensor(layer.query[:, rows], dtype=torch.float64) * layer.scale
    key = torch.tensor(layer.key[:, columns], dtype=torch.float64)
    scores = torch.bmm(query.reshape(n_groups, -1, query.shape[-1]), key.transpose(1, 2))
    scores = scores.view(n_heads, rows.stop - rows.start, -1)
    allowed, added = layer.mask.block(slice(None), rows, columns)
    if added is not None:
        scores += torch.tensor(added)
    if allowed is not None:
        scores.masked_fill_(~torch.tensor(allowed), -math.inf)
    if not scores.shape[-1]:
        return np.full(scores.shape[:2], np.inf)
    largest = scores.amax(dim=-1, keepdim=True)
    largest = torch.where(largest == -math.inf, 0.0, largest)
    # What is left is at most 1, where float32 is exact enough and three times as fast.
    sums = scores.sub_(largest).float().exp_().sum(dim=-1, dtype=torch.float64)
    return torch.where(sums > 0, sums.log() + largest[..., 0], math.inf).numpy()


def _compact(call: Call, recorder: Recorder) -> Mask:
    """Return a call's mask in few words; layers that were given the same tensors share one."""
    bias = call.options.get("position_bias")
    window = call.options.get("sliding_window") if call.mask is None else None
    given = (call.mask, bias)
    causal = _is_causal(call)
    where = tuple(None if tensor is None else (tensor.data_ptr(), tensor.shape) for tensor in given)
    known = recorder.masks.get((*where, window, causal))
    if known is None:
        # The tensors are held on to, so that no other one can take their place in memory.
        known = recorder.masks[(*where, window, causal)] = (mask_of(call, bias), given)
    return known[0]


def mask_of(call: Call, bias: Tensor | None) -> Mask:
    """Return a call's mask and position bias in few words."""
    import torch

    n_queries, n_keys = call.query.shape[-2], call.key.shape[-2]
    if call.mask is None and bias is None:
        if not _is_causal(call) or n_queries == 1:
            return Mask()
        window = call.options.get("sliding_window")
        return Mask((1 - (window or n_queries), 0))
    allowed, additive = mask_rows(call, slice(0, n_queries))
    if bias is not None:
        additive = bias.float() if additive is None else additive + bias.float()
    if bias is not None or (additive[allowed.expand_as(additive)] != 0).any():
        table = additive[0].clamp_min(torch.finfo(torch.float32).min).cpu().numpy()
        return Mask(table=np.broadcast_to(table, (len(table), n_queries, n_keys)))
    table = np.broadcast_to(allowed[0].cpu().numpy(), (allowed.shape[1], n_queries, n_keys))
    return (_band(table[0]) if len(table) == 1 else None) or Mask(table=table)


def _band(allowed: np.ndarray) -> Mask | None:
    """Return a mask [query, key] as a band and real keys, where it is no more than that."""
    looking = allowed.any(axis=1)
    if not looking.any():
        return None
    n_queries, n_keys = allowed.shape
    places = np.arange(n_queries)[looking]
    low = int((allowed.argmax(axis=1)[looking] - places).min())
    high = int((n_keys - 1 - allowed[:, ::-1].argmax(axis=1)[looking] - places).max())
    keys = allowed.any(axis=0)
    mask = Mask((low, high), None if keys.all() else keys)
    for rows in chunks(n_queries, 4 * n_keys):
        said, _ = mask.block(slice(None), rows, slice(0, n_keys))
        if not np.array_equal(said[0], allowed[rows]):
            return None
    return mask


def _sample_error(layer: QueryKeys, sample: list[slice], own_rows: list[tuple]) -> float:
    errors = [
        np.abs(layer.tile(head, rows, slice(None)) - weights[head]).max()
        for rows, (weights, *_) in zip(sample, own_rows, strict=True)
        for head in range(len(layer))
    ]
    return float(np.max(errors))


def _kept(array: np.ndarray, recorder: Recorder) -> np.ndarray:
    room = recorder.room(array.shape, array.dtype)
    room.write(slice(0, array.shape[1]), array)
    return room.done()


def _array(tensor: Tensor, half: bool) -> np.ndarray:
    """Return a tensor as float32, or as float16 if it ran in 16 bits and fits (numpy knows no bfloat16)."""
    import torch

    small = tensor.half() if half else None
    fits = small is not None and torch.isfinite(small).all()
    return (small if fits else tensor.float()).contiguous().cpu().numpy()


def in_float32(call: Call) -> Call:
    """Return a call with what went in as float32."""
    import torch

    options = {
        name: option.float() if torch.is_tensor(option) and option.is_floating_point() else option
        for name, option in call.options.items()
    }
    tensors = (call.query.float(), call.key.float(), call.value.float())
    return replace(call, query=tensors[0], key=tensors[1], value=tensors[2], options=options)


def _sink_share(call: Call, rows: slice, additive: Tensor | None) -> np.ndarray | None:
    """Return what a learned sink took of each row [head, row]; None for models without one."""
    sink = call.options.get("s_aux")
    if sink is None:
        return None
    groups = call.query.shape[1] // call.key.shape[1]
    scores = call.query[:, :, rows] @ call.key.repeat_interleave(groups, dim=1).transpose(2, 3)
    scores = scores * call.options["scaling"] + (0.0 if additive is None else additive)
    sink = sink.float().view(1, -1, 1)
    return (sink - scores.logsumexp(dim=-1).logaddexp(sink)).exp().flatten(0, 1).cpu().numpy()


def _is_causal(call: Call) -> bool:
    """Return whether a missing mask means the triangle."""
    return bool(call.options["is_causal"]) if call.module is None else call.causal


def _has_rows(option: object, n_queries: int) -> bool:
    return getattr(option, "ndim", 0) == 4 and n_queries > 1 and option.shape[-2] == n_queries


def chunks(n_rows: int, row_bytes: int) -> Iterator[slice]:
    """Return the rows in parts of at most `CHUNK_BYTES`."""
    size = max(1, CHUNK_BYTES // row_bytes)
    return (slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size))


def _rows_at(share: float, n_rows: int) -> slice:
    start = round(share * max(0, n_rows - SAMPLE_ROWS))
    return slice(start, min(start + SAMPLE_ROWS, n_rows))


def _largest_output(call: Call) -> float:
    return max(call.output.abs().max().float().item(), 1e-12)
