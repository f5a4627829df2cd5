"""A fit as an optimiser sees it: points u of many starts in, losses and derivatives out."""

from collections.abc import Mapping

import numpy as np

from odynn.data import Parameter, Target
from odynn.fitting.kernels import Kernels
from odynn.fitting.losses import Loss
from odynn.fitting.transforms import Transform
from odynn.simulation.blocks import block_width, run_blocks
from odynn.simulation.dynamics import Dynamics


class Problem:
    """The loss of a model on a target, and its derivatives, for many starts at once.

    Every method takes points u [free, start] and ``base`` [parameter, start], the values of all
    parameters of the model, of which the free ones are replaced; each start is computed by itself.

    Attributes:
        names: parameters of the model.
        transform: between values and points.
        loss: what is minimised.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        target: Target,
        loss: Loss,
        parameters: Mapping[str, Parameter],
        starts: int,
        threads: int = 1,
    ):
        """Build the kernels.

        Args:
            dynamics: the model's step.
            target: the sweeps to fit.
            loss: what to minimise.
            parameters: every parameter of the model, free or not.
            starts: how many starts are to come, for the width of the blocks.
            threads: blocks computed at once.
        """
        self.names, self.loss = list(parameters), loss
        self.transform = Transform(parameters)
        self._free = [self.names.index(name) for name in self.transform.parameters]
        self._kernels = Kernels(dynamics, target, loss, self.names, list(self.transform.parameters))
        self._width = block_width(target.stimulus.shape[1], starts)
        self._threads = threads
        self.observed_states = self._kernels.observed_states

    def values(self, u: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Return all parameters, [parameter, start], at points u."""
        values = base.copy()
        values[self._free] = self.transform.forward(u)
        return values

    def points(self, values: np.ndarray) -> np.ndarray:
        """Return the points u [free, start] of all parameters [parameter, start]."""
        return self.transform.inverse(values[self._free])

    def errors(self, values: np.ndarray, nudge: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Return loss [start] and mean squared error of each observed state [state, start]."""
        return tuple(self._run(lambda v: self._kernels.losses(v, nudge), [values]))

    def losses(self, u: np.ndarray, base: np.ndarray, nudge: float = 0.0) -> np.ndarray:
        """Return the loss, [start]."""
        return self.errors(self.values(u, base), nudge)[0]

    def normal_equations(self, u: np.ndarray, base: np.ndarray, nudge: float = 0.0) -> tuple[np.ndarray, ...]:
        """Return JᵀJ [free, free, start], Jᵀr [free, start] and the loss [start]."""
        columns = [self.values(u, base), self.transform.slope(u)]
        return tuple(self._run(lambda v, slope: self._kernels.normal_equations(v, slope, nudge), columns))

    def gradient(self, u: np.ndarray, base: np.ndarray, nudge: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivative of the loss by u [free, start], and the loss [start], by the adjoint."""
        columns = [self.values(u, base), self.transform.slope(u)]
        return tuple(self._run(lambda v, slope: self._kernels.gradient(v, slope, nudge), columns))

    def _run(self, compute, columns):
        return run_blocks(compute, columns, self._width, self._threads)
