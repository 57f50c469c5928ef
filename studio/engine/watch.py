"""Watches the first steps of a training for what goes wrong without an error."""

import math

import numpy as np

from studio.core.reasons import Problem

_FIRST = 3  # steps in a row without a gradient, or without a label, that are enough
_FLAT_SHARE, _FLAT_STEPS = 0.1, (50, 300)  # of the training, after which a loss that has not fallen is told of
_LEAST_STEPS = 12
_CLEAR = 2.0  # standard errors by which a loss has fallen, if it has


class Watch:
    """Takes the numbers of each step from the first one on, and says once what they show.

    n_steps: of the whole training; n_warmup: those with a growing learning rate, in which little has to happen.
    """

    def __init__(self, n_steps: int, n_warmup: int = 0):
        self._losses: list[float] = []
        self._n_still = self._n_masked = 0
        shortest, longest = _FLAT_STEPS
        self._last = min(n_steps, n_warmup + max(shortest, min(longest, math.ceil(_FLAT_SHARE * n_steps))))

    @property
    def is_over(self) -> bool:
        """Whether enough was seen."""
        return len(self._losses) >= self._last

    def look(self, loss: float, gradient_norm: float | None, is_masked: bool) -> Problem | None:
        """Return what the steps so far show: "labels-masked", "no-gradient" or "loss-flat"; None where all is well.

        is_masked: no token or row of the step had a label.
        """
        if self.is_over:
            return None
        self._losses.append(loss)
        n = len(self._losses)
        self._n_masked += is_masked
        self._n_still += gradient_norm == 0.0
        if self._n_masked == n and (n == _FIRST or not math.isfinite(loss)):  # the mean over no label
            return Problem("labels-masked", {"n_steps": n})
        if n == _FIRST and self._n_still == n:
            return Problem("no-gradient", {"n_steps": n, "loss": loss})
        if self.is_over and n >= _LEAST_STEPS and self._is_flat():
            return Problem("loss-flat", {"n_steps": n, "loss": float(f"{np.mean(self._losses[-(n // 3) :]):.4g}")})
        return None

    def _is_flat(self) -> bool:
        """Return whether the last third of the losses is not clearly below the first (Welch's t)."""
        n = len(self._losses) // 3
        first, last = np.array(self._losses[:n]), np.array(self._losses[-n:])
        error = math.sqrt((first.var(ddof=1) + last.var(ddof=1)) / n)
        return first.mean() - last.mean() <= _CLEAR * error
