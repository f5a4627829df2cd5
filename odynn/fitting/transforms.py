"""The space that a fit moves in: every free parameter a number u of order one, without bounds.

A parameter with bounds [a, b] is θ = a + (b - a) σ(u), a log parameter the same in log θ, where σ
is the logistic function. Bounds cannot be violated, and dθ/du vanishes towards them.
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import expit, logit

from odynn.data import Parameter

# A parameter this near to a bound, as a share of the range, is said to be at it.
_MARGIN = 1e-3
# A value on a bound (within this share of the range: clipped there, say) becomes the point a margin
# inside, since at the bound dθ/du is zero and no fit could leave it. Any other keeps its place: a small
# conductance in a wide linear range means what it says.
_ON_BOUND = 1e-6


class Transform:
    """Maps between parameter values and the unconstrained space.

    Attributes:
        parameters: the free rows, in the order of the first axis of u.
    """

    def __init__(self, parameters: Mapping[str, Parameter]):
        """Take the rows of the table; those that are not free are left out."""
        self.parameters = {name: row for name, row in parameters.items() if row.free}
        rows = list(self.parameters.values())
        self._log = np.array([row.scale == "log" for row in rows], dtype=bool)
        bounds = np.array([row.bounds for row in rows], dtype=float).reshape(-1, 2)
        bounds[self._log] = np.log(bounds[self._log])
        self._lower, self._width = bounds[:, :1], np.diff(bounds, axis=1)

    def __len__(self) -> int:
        """Return the number of free parameters."""
        return len(self.parameters)

    def forward(self, u: np.ndarray) -> np.ndarray:
        """Return the values, [free, start], of points u [free, start]."""
        values = self._lower + self._width * expit(u)
        log = self._log
        values[log] = np.exp(values[log])
        return values

    def inverse(self, values: np.ndarray) -> np.ndarray:
        """Return the points u [free, start] of values [free, start]; those on a bound a little inside."""
        inside = np.array(values, dtype=float)
        inside[self._log] = np.log(inside[self._log])
        share = (inside - self._lower) / self._width
        share = np.where(share < _ON_BOUND, _MARGIN, share)
        return logit(np.where(share > 1 - _ON_BOUND, 1 - _MARGIN, share))

    def slope(self, u: np.ndarray) -> np.ndarray:
        """Return dθ/du, [free, start]."""
        share = expit(u)
        slope = self._width * share * (1 - share)
        return np.where(self._log[:, None], slope * self.forward(u), slope)

    def bounded(self, u: np.ndarray) -> np.ndarray:
        """Return, [free, start], which parameters lie within a thousandth of their range of a bound."""
        share = expit(u)
        return (share < _MARGIN) | (share > 1 - _MARGIN)

    def at_bound(self, u: np.ndarray) -> np.ndarray:
        """Return, [start], whether any parameter lies that near to a bound."""
        return self.bounded(u).any(axis=0)
