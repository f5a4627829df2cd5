"""What a term of a loss is: elementwise, for every method, or per sweep, for those without derivatives.

A term is a class whose constructor takes its options (those of its entry in the configuration but
``kind`` and ``weight``), and that is derived from one of the two below. Terms do not change after they
are made: one may serve several targets.
"""

from collections.abc import Mapping

import numpy as np

from odynn.data import Target
from odynn.models.kinetics import Values


class ElementwiseTerm:
    """A sum of squared residuals, one or more at each time; every method can minimise it.

    Its value is the sum over times and sweeps of the squared residuals, divided by the number of
    samples (times · sweeps). A subclass gives at least ``states`` and ``residuals``.
    """

    states: tuple[str, ...] = ("V",)
    """Names of the states that must be observed."""

    def unit(self, units: Mapping[str, str]) -> str:
        """Return the unit of the value, by the unit of each observed state; "1" for a pure number."""
        return "1"

    def channels(self, target: Target) -> dict[str, np.ndarray]:
        """Return everything that ``residuals`` needs of the target, prepared once.

        Args:
            target: the sweeps to fit. A missing sample is NaN, and so is one whose weight in the target
                is 0; other weights of the target multiply the residuals without the term's doing.

        Returns:
            Name to [time, sweep], finite. One called ``weight`` multiplies the residuals of the term
            (the kernels do it): zero where a sample does not count. By default the observed traces,
            and weights if samples are missing.
        """
        from odynn.fitting.losses.masks import filled, sample_weights

        traces = {state: filled(target.observed[state]) for state in self.states}
        weight = sample_weights(target, self.states)
        return traces if weight is None else {**traces, "weight": weight}

    def memory(self, simulated: Mapping[str, Values]) -> tuple[Values, ...]:
        """Return the initial values of the term's own running variables; none by default.

        Args:
            simulated: every state name to its initial value, [sweep, start].

        Returns:
            One tensor [sweep, start] a variable, such as ``simulated["V"] * 0.0``.
        """
        return ()

    def residuals(
        self,
        simulated: Mapping[str, Values],
        memory: tuple[Values, ...],
        channels: Mapping[str, Values],
    ) -> tuple[tuple[Values, ...], list[Values]]:
        """Return the running variables and the residuals after a step.

        Elementwise, without any reduction, by operators or ``odynn.models.kinetics``.

        Args:
            simulated: every state name to [sweep, start].
            memory: the running variables before the step, [sweep, start] each.
            channels: those of ``channels`` at this time, [sweep, 1] each.

        Returns:
            The running variables after the step, and at least one residual [sweep, start];
            differentiable in ``simulated`` and ``memory``.
        """
        raise NotImplementedError


class SweepTerm:
    """A number a sweep, computed from whole traces in numpy; for methods that need no derivatives.

    Its value is the mean over sweeps, weighted where the target has weights by the mean of those of a
    sweep's samples; straight lines take the place of what has the weight 0, in the target as in the
    traces. A subclass gives at least ``states`` and ``values``, and
    ``prepare`` if it needs the target.
    """

    states: tuple[str, ...] = ("V",)
    """Names of the states that must be observed; these are simulated and given to ``values``."""

    def unit(self, units: Mapping[str, str]) -> str:
        """Return the unit of the value, by the unit of each observed state; "1" for a pure number."""
        return "1"

    def prepare(self, target: Target) -> "SweepTerm":
        """Return the term as ``values`` is to be asked for this target; by default itself.

        Called once for a target. A term that keeps something of the target, such as its spike times,
        returns a copy of itself that holds it.
        """
        return self

    def values(self, traces: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the value of each sweep and start, [sweep, start], each start by itself.

        Args:
            traces: each of ``states`` to [time, sweep, start], the state after each step; finite.
        """
        raise NotImplementedError
