"""Losses: elementwise residuals, which the kernels square and sum.

A loss says which states must be observed and gives one residual a state, elementwise, without any
reduction. The value that is minimised and reported is the sum of squared residuals divided by the
number of samples. To add a loss, write a class with these two members.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from odynn.errors import FitError, listed
from odynn.models.kinetics import Values


class Loss(Protocol):
    """What the kernels need of a loss."""

    states: tuple[str, ...]
    """Names of the states that must be observed."""

    def residuals(self, simulated: Mapping[str, Values], observed: Mapping[str, Values]) -> list[Values]:
        """Return residuals at one time.

        Args:
            simulated: every state name to [sweep, start].
            observed: each of ``states`` to [sweep, 1].

        Returns:
            Tensors of shape [sweep, start], differentiable in ``simulated``.
        """


@dataclass(frozen=True)
class SquaredError:
    """Weighted mean squared error, the original library's loss: the sum over states of w · MSE.

    Attributes:
        weights: state name to its weight w ≥ 0; states of weight 0 are left out.
    """

    weights: Mapping[str, float]

    @property
    def states(self) -> tuple[str, ...]:
        """States of positive weight."""
        return tuple(state for state, weight in self.weights.items() if weight > 0)

    def residuals(self, simulated, observed):
        """Return sqrt(w) · (simulated - observed) for each state."""
        return [(simulated[state] - observed[state]) * self.weights[state] ** 0.5 for state in self.states]


def check_observed(loss: Loss, observed: Mapping[str, object]) -> None:
    """Raise a FitError where the target lacks a state that the loss weighs.

    Args:
        loss: the loss.
        observed: the target's observed states.
    """
    missing = [state for state in loss.states if state not in observed]
    if missing:
        raise FitError(
            f"loss: the target has no trace of {listed(missing)}. It has: {listed(observed)}. "
            f"Set the weight of {listed(missing)} to 0, or give a recording that has it."
        )
