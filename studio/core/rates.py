"""The learning-rate range test: which rates are tried, when it ends, and what its curve suggests.

Smith 2017, Cyclical Learning Rates for Training Neural Networks, https://arxiv.org/abs/1506.01186, section 3.3.
"""

from collections.abc import Sequence

import numpy as np

BELOW, ABOVE = 100.0, 1000.0  # how far from a method's own rate the sweep begins and ends
HOW = "steepest descent"
_SPAN = 0.12  # of the sweep, the standard deviation of the smoothing
_WARM = 8  # steps before an end is thought of


def sweep_rates(usual: float, n_steps: int) -> np.ndarray:
    """Return rates [n_steps] that grow by the same factor each step, around the `usual` one, 1 at most."""
    return np.geomspace(usual / BELOW, min(1.0, usual * ABOVE), n_steps)


def smooth_losses(losses: Sequence[float]) -> np.ndarray:
    """Return losses [n] smoothed by a Gaussian over the steps on both sides, so that no fall is drawn too late."""
    y = np.asarray(losses, dtype=float)
    steps = np.arange(len(y))
    weights = np.exp(-0.5 * ((steps[:, None] - steps) / max(1.0, _SPAN * len(y) / 2)) ** 2)
    return weights @ y / weights.sum(1)


def has_diverged(losses: Sequence[float]) -> bool:
    """Return whether the loss has left the valley for good: not finite, or its recent mean far above where it began.

    The best recent mean, doubled, is another bound, for losses that fall far before they explode.
    """
    y = np.asarray(losses, dtype=float)
    if not np.isfinite(y).all():
        return True
    if len(y) < 2 * _WARM:
        return False
    means = np.convolve(y, np.ones(_WARM) / _WARM, mode="valid")
    return bool(means[-1] > 1.3 * means[0] or means[-1] > 2 * means.min() + 0.1 * means[0])


def suggest(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """Return the rate at which the smoothed loss falls fastest over the logarithm of the rate, before its lowest point.

    losses: smoothed, finite. None where the loss never falls by a twentieth of its first value. Two significant
    figures, of which the second is 0 or 5.
    """
    x, y = np.log(np.asarray(rates, dtype=float)), np.asarray(losses, dtype=float)
    lowest = int(y.argmin()) if len(y) else 0
    if lowest < 2 or y[0] - y[lowest] < 0.05 * abs(y[0]):
        return None
    steepest = int(np.gradient(y, x)[:lowest].argmin())
    rate = float(np.exp(x[steepest]))
    power = 10.0 ** np.floor(np.log10(rate))
    return float(f"{round(2 * rate / power) / 2 * power:.2g}")
