"""How attention adds up from the last layer to the input: rollout, flow, and with gradients; no torch."""

from __future__ import annotations

import numpy as np

# Capacities are whole numbers to scipy; a row of weights sums to one, so that they stay below 2**31.
FLOW_UNITS = 10**9


def rollout(attention: np.ndarray, residual: bool = True) -> np.ndarray:
    """Return how much of each input reaches each token, [query, key], from maps [layer, head, query, key].

    Heads are averaged, half of each layer is the residual stream, and layers are multiplied
    (Abnar & Zuidema 2020). Rows sum to one.
    """
    result = np.eye(attention.shape[-1])
    for layer in _steps(attention, residual):
        result = layer @ result
    return result


def max_flow(attention: np.ndarray, residual: bool = True, queries: list[int] | None = None) -> np.ndarray:
    """Return the largest flow from each token, or some `queries`, to each input, [query, key] (Abnar & Zuidema 2020).

    Weights are capacities, rounded to 1e-9. Each pair of tokens is a flow of its own: for long texts ask for rollout.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import maximum_flow

    layers = _steps(attention, residual)
    n_layers, n_tokens, _ = layers.shape
    # Level 0 is the input; a token of level l + 1 looks at those of level l.
    rows, columns = np.indices((n_tokens, n_tokens)).reshape(2, -1)
    starts = np.concatenate([(level + 1) * n_tokens + rows for level in range(n_layers)])
    ends = np.concatenate([level * n_tokens + columns for level in range(n_layers)])
    capacities = np.rint(layers.reshape(-1) * FLOW_UNITS).astype(np.int32)
    size = (n_layers + 1) * n_tokens
    graph = coo_array((capacities, (starts, ends)), shape=(size, size)).tocsr()
    return np.array(
        [
            [maximum_flow(graph, n_layers * n_tokens + query, key).flow_value / FLOW_UNITS for key in range(n_tokens)]
            for query in (range(n_tokens) if queries is None else queries)
        ]
    )


def gradient_times_attention(attention: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return what each weight did for the target to first order, [layer, head, query, key]."""
    return attention * gradients


def relevance(attention: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    """Return the relevance of each input for each token, [query, key] (Chefer et al. 2021, equations 5 and 6).

    Of each layer only what spoke for the target counts: the mean over heads of the positive part of A * dA.
    """
    result = np.eye(attention.shape[-1])
    for layer, gradient in zip(attention, gradients, strict=True):
        result = result + _spoke(layer, gradient) @ result
    return result


def relevance_across(
    encoder: tuple[np.ndarray, np.ndarray],
    decoder: tuple[np.ndarray, np.ndarray],
    cross: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Return the relevance of each token of an encoder for each of its decoder, [query, key].

    Each is maps and gradients [layer, head, query, key] (Chefer et al. 2021, equations 5 to 10: what the decoder looks
    at across is followed through what either side has mixed before).
    """
    mixed = _mixed(relevance(*encoder))
    n_written, n_read = cross[0].shape[-2:]
    own, across = np.eye(n_written), np.zeros((n_written, n_read))
    for layer in range(len(cross[0])):
        spoke, spoke_across = (_spoke(each[0][layer], each[1][layer]) for each in (decoder, cross))
        own, across = own + spoke @ own, across + spoke @ across
        across = across + _mixed(own).T @ spoke_across @ mixed
    return across


def _spoke(layer: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Return what of a layer spoke for the target, [query, key]."""
    return np.maximum(layer.astype(np.float64) * gradient, 0.0).mean(axis=0)


def _mixed(relevance: np.ndarray) -> np.ndarray:
    """Return relevance whose part from other tokens sums to one in each row, as large as that of the token itself."""
    others = relevance - np.eye(len(relevance))
    sums = others.sum(axis=-1, keepdims=True)
    return np.divide(others, sums, out=np.zeros_like(others), where=sums > 0) + np.eye(len(relevance))


def _steps(attention: np.ndarray, residual: bool) -> np.ndarray:
    layers = np.stack([np.asarray(layer, dtype=np.float64).mean(axis=0) for layer in attention])
    if layers.shape[1] != layers.shape[2]:
        raise ValueError(f"maps of {layers.shape[1]} x {layers.shape[2]} tokens can't be followed")
    if residual:
        layers = (layers + np.eye(layers.shape[-1])) / 2
    sums = layers.sum(axis=-1, keepdims=True)
    return layers / np.where(sums > 0, sums, 1.0)
