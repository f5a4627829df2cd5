"""A target and the elementwise terms of a loss, as the kernels read them at each time."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from odynn.data import Target
from odynn.errors import FitError, users_code
from odynn.fitting.losses.combination import WeightedTerm
from odynn.fitting.losses.masks import filled, sample_weights
from odynn.fitting.losses.weighting import ignored, weighted_channels
from odynn.simulation.dynamics import Dynamics


class Data(NamedTuple):
    """A target as the kernels read it, time padded to whole segments.

    Attributes:
        stimulus: [time, sweep, 1].
        observed: one [time, sweep, 1] an observed state, zero for a missing sample.
        weights: for each observed state what its errors are multiplied with, [time, sweep, 1]; None
            where no sample is missing.
        channels: for each term its channels, name to [time, sweep, 1].
        valid: [time] 1 for samples of the target, 0 for padding.
        seen: [time, sweep, 1] 1 where the voltage was observed and has a weight, else 0; None where it
            always was and has.
        initial: [sweep, 1] mV, or None.
    """

    stimulus: tf.Tensor
    observed: tuple[tf.Tensor, ...]
    weights: tuple[tf.Tensor | None, ...]
    channels: tuple[dict[str, tf.Tensor], ...]
    valid: tf.Tensor
    seen: tf.Tensor | None
    initial: tf.Tensor | None


class Observation:
    """Compares simulated states with a target, sample by sample.

    Attributes:
        states: the observed states.
        terms: of the loss.
        samples: times · sweeps, by which sums of squares are divided.
    """

    def __init__(self, dynamics: Dynamics, target: Target, terms: Sequence[WeightedTerm]):
        """Prepare the channels of the terms.

        Raises:
            FitError: if a term of the user's own returns what cannot be used.
        """
        self.dynamics, self.terms = dynamics, tuple(terms)
        self.states, self.samples = tuple(target.observed), target.stimulus.size
        self._target = target
        self._channels = tuple(_checked(one, target) for one in self.terms)
        zero = tf.zeros([target.stimulus.shape[1], 1], dynamics.dtype)
        simulated = self._named([zero] * len(dynamics.states))
        self._memories = tuple(len(self._ask(one, "memory", simulated)) for one in self.terms)

    @property
    def variables(self) -> int:
        """Number of running variables of all terms."""
        return sum(self._memories)

    def padded(self, length: int) -> Data:
        """Return the target with its time padded to a length; what is padded never counts."""
        target, dtype = self._target, self.dynamics.dtype
        extra = length - len(target.time)
        made: dict[int, tf.Tensor] = {}

        def tensor(trace):
            # An array that serves twice, such as an observed trace, is there once.
            if id(trace) not in made:
                padded = np.pad(trace, ((0, extra), (0, 0)), "edge")[..., None]
                made[id(trace)] = tf.constant(padded, dtype)
            return made[id(trace)]

        def weights(array):
            if array is None:
                return None
            return tf.constant(np.pad(array, ((0, extra), (0, 0)))[..., None], dtype)

        gaps = {state: sample_weights(target, (state,)) for state in self.states}
        seen, out = gaps.get("V"), ignored(target)
        if out is not None:
            seen = ~out if seen is None else (seen > 0) & ~out
        return Data(
            stimulus=tensor(target.stimulus),
            observed=tuple(
                tensor(trace if gaps[state] is None else filled(trace))
                for state, trace in target.observed.items()
            ),
            weights=tuple(weights(gaps[state]) for state in self.states),
            channels=tuple(
                {
                    name: weights(channel) if name == "weight" else tensor(channel)
                    for name, channel in channels.items()
                }
                for channels in self._channels
            ),
            valid=tf.constant(np.pad(np.ones(len(target.time)), (0, extra)), dtype),
            seen=None if seen is None else weights(seen > 0),
            initial=None if target.initial is None else tf.constant(target.initial[:, None], dtype),
        )

    def pull(self, data: Data, t, nudge) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the gain and the voltage that step t is nudged with; no gain where none was observed."""
        if "V" not in self.states:
            return nudge, tf.zeros_like(data.stimulus[t])
        V = data.observed[self.states.index("V")][t]
        return (nudge if data.seen is None else nudge * data.seen[t]), V

    def memory(self, state: Sequence[tf.Tensor]) -> tuple[tf.Tensor, ...]:
        """Return the initial running variables of all terms, one after the other."""
        simulated = self._named(state)
        return tuple(
            self._tensor(one, value, state[0].shape)
            for one in self.terms
            for value in self._ask(one, "memory", simulated)
        )

    def residuals(
        self, state: Sequence[tf.Tensor], memory: Sequence[tf.Tensor], data: Data, t
    ) -> tuple[tuple[tf.Tensor, ...], list[list[tf.Tensor]]]:
        """Return the running variables and the weighted residuals of each term after step t.

        Args:
            state: after the step.
            memory: before the step, as ``memory`` or this function returned it.
            data: of ``padded``.
            t: number of the step.
        """
        simulated, kept, found, first = self._named(state), [], [], 0
        shape = state[0].shape
        for one, channels, number in zip(self.terms, data.channels, self._memories, strict=True):
            now = {name: channel[t] for name, channel in channels.items()}
            counts = now.get("weight", data.valid[t])
            new, residuals = self._ask(one, "residuals", simulated, memory[first : first + number], now)
            if len(new) != number or not residuals:
                raise FitError(
                    f"loss: {type(one.term).__name__}.residuals must return as many running variables as "
                    f"`memory` ({number}) and at least one residual. Received: {len(new)} and "
                    f"{len(residuals)}. Return (variables, [residual, …])."
                )
            first += number
            kept += [self._tensor(one, value, shape) for value in new]
            found.append(
                [self._tensor(one, residual, shape) * one.weight**0.5 * counts for residual in residuals]
            )
        return tuple(kept), found

    def errors(self, state: Sequence[tf.Tensor], data: Data, t) -> list[tf.Tensor]:
        """Return the error of each observed state after step t."""
        simulated = self._named(state)
        return [
            (simulated[name] - observed[t]) * (data.valid[t] if weight is None else weight[t])
            for name, observed, weight in zip(self.states, data.observed, data.weights, strict=True)
        ]

    def _named(self, state: Sequence[tf.Tensor]) -> Mapping[str, tf.Tensor]:
        return dict(zip(self.dynamics.states, state, strict=True))

    def _tensor(self, one: WeightedTerm, value: object, shape) -> tf.Tensor:
        try:
            if tf.convert_to_tensor(value).dtype == tf.string:
                raise TypeError("text")
            return tf.broadcast_to(tf.cast(value, self.dynamics.dtype), shape)
        except Exception as error:
            raise FitError(
                f"loss: what {type(one.term).__name__} returns must be tensors of the shape [sweep, start], "
                f"{list(shape)}. Received: {value!r:.200}. Compute elementwise, with operators or "
                "odynn.models.kinetics."
            ) from error

    def _ask(self, one: WeightedTerm, method: str, *arguments):
        rule = (
            f"loss: {type(one.term).__name__}.{method} must do what odynn.fitting.losses.terms says of it, "
            "on TensorFlow tensors."
        )
        remedy = "The functions of odynn.models.kinetics (exp, sigmoid, where) serve arrays and tensors."
        with users_code(FitError, rule, remedy):
            found = getattr(one.term, method)(*arguments)
            return (tuple(found[0]), list(found[1])) if method == "residuals" else tuple(found)


def _checked(one: WeightedTerm, target: Target) -> dict[str, np.ndarray]:
    """Return the channels of a term, each of the right shape and finite."""
    rule = f"loss: {type(one.term).__name__}.channels must return a dict of arrays [time, sweep]."
    with users_code(FitError, rule, "Correct it."):
        found = weighted_channels(one.term, target)
        channels = {name: np.asarray(array, float) for name, array in found.items()}
    shape = target.stimulus.shape
    for name, array in channels.items():
        if array.shape != shape or not np.isfinite(array).all():
            what = f"shape {array.shape}" if array.shape != shape else "numbers that are not finite"
            raise FitError(
                f"loss: {type(one.term).__name__}.channels must return finite arrays [time, sweep] = "
                f"{list(shape)}. Received: {what} in '{name}'. A missing sample of a target is NaN: give "
                "it some number and the channel `weight` a zero."
            )
    return channels
