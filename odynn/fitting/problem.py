"""A fit as an optimiser sees it: points u of many starts in, losses and derivatives out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from odynn.data import Parameter, Target
from odynn.errors import FitError, listed, users_code
from odynn.fitting.kernels import Kernels
from odynn.fitting.losses import Loss, SweepTerm, make_loss
from odynn.fitting.losses.weighting import bridged, ignored, sweep_weights
from odynn.fitting.transforms import Transform
from odynn.simulation.blocks import DERIVATIVES, Blocks
from odynn.simulation.device import memory_budget
from odynn.simulation.dynamics import Dynamics


class Problem:
    """The loss of a model on a target, and its derivatives, for many starts at once.

    Every method takes points u [free, start] and ``base`` [parameter, start], the values of all
    parameters of the model, of which the free ones are replaced; each start is computed by itself.

    Attributes:
        names: parameters of the model.
        transform: between values and points.
        loss: what is minimised.
        observed_states: states of the target.
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
        self.names = list(parameters)
        self.transform, self.loss = Transform(parameters), loss
        self._free = [self.names.index(name) for name in self.transform.parameters]
        leaders = {name: row.follows for name, row in parameters.items() if row.follows}
        dynamics = replace(dynamics, leaders=leaders)
        self._followers = [self.names.index(name) for name in leaders]
        self._leaders = [self.names.index(name) for name in leaders.values()]
        self._kernels = Kernels(dynamics, target, loss, self.names, list(self.transform.parameters))
        self._memory = memory_budget()
        shape = (target.stimulus.shape[1], starts, threads)
        self._forward, self._derivatives = Blocks.of(*shape), Blocks.of(*shape, lanes=DERIVATIVES)
        self._adjoint = self._derivatives.within(self._kernels.gradient_bytes(), self._memory)
        self.observed_states = self._kernels.observed_states
        self._ignored, self._sweep_weights = ignored(target), sweep_weights(target)
        compared = target
        if self._ignored is not None:
            traces = {state: bridged(trace, self._ignored) for state, trace in target.observed.items()}
            compared = replace(target, observed=traces)
        self._per_sweep = [(one, one.term.prepare(compared)) for one in loss.per_sweep]
        self._given = (dynamics, target, parameters, starts, threads)
        self._others: dict[str, Problem] = {}

    def minimising(self, loss: Mapping | Sequence[Mapping]) -> "Problem":
        """Return the same problem with another loss, compiled once for equal ones; itself for its own.

        Args:
            loss: its settings, see ``make_loss``.

        Raises:
            OdynnError: if a term cannot be made, or the target lacks a state that it needs.
        """
        key = json.dumps(loss, sort_keys=True)
        if key not in self._others:
            dynamics, target, parameters, starts, threads = self._given
            made = make_loss(loss)
            same = made == self.loss
            self._others[key] = self if same else Problem(dynamics, target, made, parameters, starts, threads)
        return self._others[key]

    def values(self, u: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Return all parameters, [parameter, start], at points u."""
        values = base.copy()
        values[self._free] = self.transform.forward(u)
        values[self._followers] = values[self._leaders]
        return values

    def points(self, values: np.ndarray) -> np.ndarray:
        """Return the points u [free, start] of all parameters [parameter, start]."""
        return self.transform.inverse(values[self._free])

    def evaluate(self, values: np.ndarray, nudge: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Return what each term adds to the loss and the mean squared errors of the observed states.

        Args:
            values: [parameter, start].
            nudge: gain K, 1/ms.

        Returns:
            [term, start] weight · value, in the order of ``loss.terms``, and [state, start]; the former
            not finite where a trace is not.
        """
        parts, squares = self._forward.run(lambda v: self._kernels.losses(v, nudge), [values])
        found = dict(zip((one.name for one in self.loss.elementwise), parts, strict=True))
        if self._per_sweep:
            found |= self._values_per_sweep(values, nudge)
        return np.array([found[one.name] for one in self.loss.terms]), squares

    def parts(self, values: np.ndarray, nudge: float = 0.0) -> dict[str, np.ndarray]:
        """Return what each term adds to the loss, weight · value, by its name, [start]."""
        names = [one.name for one in self.loss.terms]
        return dict(zip(names, self.evaluate(values, nudge)[0], strict=True))

    def errors(self, values: np.ndarray, nudge: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Return loss [start] and mean squared error of each observed state [state, start]."""
        parts, squares = self.evaluate(values, nudge)
        return parts.sum(axis=0), squares

    def losses(self, u: np.ndarray, base: np.ndarray, nudge: float = 0.0) -> np.ndarray:
        """Return the loss, [start]."""
        values = self.values(u, base)
        if self.loss.elementwise:
            return self.errors(values, nudge)[0]
        return np.sum(list(self._values_per_sweep(values, nudge).values()), axis=0)

    def normal_equations(self, u: np.ndarray, base: np.ndarray, nudge: float = 0.0) -> tuple[np.ndarray, ...]:
        """Return JᵀJ [free, free, start], Jᵀr [free, start] and the loss [start]."""
        columns = self._differentiable(u, base)
        return tuple(
            self._derivatives.run(lambda v, slope: self._kernels.normal_equations(v, slope, nudge), columns)
        )

    def gradient(self, u: np.ndarray, base: np.ndarray, nudge: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivative of the loss by u [free, start], and the loss [start], by the adjoint.

        Blocks are as narrow as the memory for the states that the adjoint keeps asks for.
        """
        columns = self._differentiable(u, base)
        return tuple(self._adjoint.run(lambda v, slope: self._kernels.gradient(v, slope, nudge), columns))

    def _differentiable(self, u: np.ndarray, base: np.ndarray) -> list[np.ndarray]:
        if self._per_sweep:
            raise FitError(
                "loss: derivatives are of terms that give residuals. Received: "
                f"{listed(one.name for one, _ in self._per_sweep)}, a number for a whole sweep. "
                "Give the stage a loss of other terms, or a method that needs no derivatives."
            )
        return [self.values(u, base), self.transform.slope(u)]

    def _values_per_sweep(self, values: np.ndarray, nudge: float) -> dict[str, np.ndarray]:
        """Return what the terms per sweep add to the loss, by name; NaN where a trace is not finite.

        As many starts at a time as the memory for their traces allows; each start by itself.
        """
        states = tuple(dict.fromkeys(state for one, _ in self._per_sweep for state in one.term.states))
        blocks = self._forward.within(self._kernels.traces_bytes(states), self._memory)
        found = np.full((len(self._per_sweep), values.shape[1]), np.nan)
        together = blocks.width * blocks.threads
        for first in range(0, values.shape[1], together):
            starts = slice(first, first + together)
            traces = blocks.run(lambda v: self._kernels.traces(states, v, nudge), [values[:, starts]])
            finite = np.logical_and.reduce([np.isfinite(trace).all(axis=(0, 1)) for trace in traces])
            if not finite.any():
                continue
            places = np.arange(values.shape[1])[starts][finite]
            named = {
                state: bridged(trace[..., finite], self._ignored)
                for state, trace in zip(states, traces, strict=True)
            }
            for row, (one, term) in enumerate(self._per_sweep):
                given = {state: named[state] for state in one.term.states}
                mean = np.average(_values(term, given), axis=0, weights=self._sweep_weights)
                found[row, places] = one.weight * mean
        return {one.name: row for (one, _), row in zip(self._per_sweep, found, strict=True)}


def _values(term: SweepTerm, traces: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return what a term says of traces, [sweep, start]."""
    shape = next(iter(traces.values())).shape[1:]
    rule = f"loss: {type(term).__name__}.values must return a number for each sweep and start."
    with users_code(FitError, rule, "Correct it."):
        found = np.asarray(term.values(traces), dtype=float)
    if found.shape != shape:
        raise FitError(
            f"loss: {type(term).__name__}.values must return an array [sweep, start] = {list(shape)}. "
            f"Received: shape {list(found.shape)}. Reduce over time alone."
        )
    return found
