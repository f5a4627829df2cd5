"""The compiled computations of a fit: loss, normal equations, adjoint gradient.

All three run the whole time loop in one XLA program. Time goes in segments: within a segment sums
are kept in the precision of the run, across segments in float64, so that a float32 fit of a long
recording still reaches its noise floor. Sums are over sweeps, never over starts.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from odynn.data import Target
from odynn.errors import FitError
from odynn.fitting.losses import Loss, check_observed
from odynn.simulation.dynamics import Dynamics

_SEGMENT = 32


class Data(NamedTuple):
    """A target as the kernels read it, time padded to whole segments.

    Attributes:
        stimulus: [time, sweep, 1].
        observed: one [time, sweep, 1] an observed state.
        valid: [time] 1 for samples of the target, 0 for padding.
        initial: [sweep, 1] mV, or None.
    """

    stimulus: tf.Tensor
    observed: tuple[tf.Tensor, ...]
    valid: tf.Tensor
    initial: tf.Tensor | None


class Kernels:
    """Compiled computations for one model, one target and one loss.

    Arguments and results of all three have the start as last axis. ``values`` holds every
    parameter of the model, [parameter, start], in the order of ``names``; ``slope`` is dθ/du of the
    free ones, [free, start]; ``nudge`` is the gain K in 1/ms.
    """

    def __init__(self, dynamics: Dynamics, target: Target, loss: Loss, names: list[str], free: list[str]):
        """Prepare; compilation happens at the first call of each shape.

        Args:
            dynamics: the model's step.
            target: the sweeps to fit.
            loss: the loss.
            names: every parameter of the model.
            free: those that derivatives are taken for.

        Raises:
            FitError: if the target lacks a state that the loss needs.
        """
        check_observed(loss, target.observed)
        self.dynamics, self.loss, self.names, self.free = dynamics, loss, names, free
        self.observed_states = tuple(target.observed)
        self.samples = target.stimulus.size
        # One step of padding at least: the normal equations are summed one step late.
        self._segments = math.ceil((len(target.time) + 1) / _SEGMENT)
        self._data = self._padded(target, self._segments * _SEGMENT)
        # About equal numbers of segments and of steps in one: memory grows as the root of time.
        self._adjoint_length = max(_SEGMENT, math.isqrt(len(target.time) - 1) + 1)
        self._adjoint_segments = math.ceil(len(target.time) / self._adjoint_length)
        self._adjoint_data = self._padded(target, self._adjoint_segments * self._adjoint_length)
        self._losses = tf.function(self._losses_graph, jit_compile=True, autograph=False)
        self._normal_equations = tf.function(self._normal_equations_graph, jit_compile=True, autograph=False)
        self._gradient = tf.function(self._gradient_graph, jit_compile=True, autograph=False)

    def losses(self, values: tf.Tensor, nudge: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Return the loss, [start], and the mean squared error of each observed state, [state, start]."""
        return self._losses(values, self._number(nudge), self._data)

    def normal_equations(self, values: tf.Tensor, slope: tf.Tensor, nudge) -> tuple[tf.Tensor, ...]:
        """Return JᵀJ [free, free, start], Jᵀr [free, start] and the loss [start].

        J is the derivative of the residuals by u, accumulated by forward sensitivities: memory does
        not depend on the number of time steps. Both are divided by the number of samples.
        """
        return self._normal_equations(values, slope, self._number(nudge), self._data)

    def gradient(self, values: tf.Tensor, slope: tf.Tensor, nudge) -> tuple[tf.Tensor, ...]:
        """Return the derivative of the loss by u, [free, start], and the loss, [start].

        Computed by the discrete adjoint: the states at the start of each segment are kept, those
        within a segment recomputed, and the step's vector-Jacobian product is run backwards.
        """
        return self._gradient(values, slope, self._number(nudge), self._adjoint_data)

    def _number(self, nudge: float) -> tf.Tensor:
        if nudge != 0 and "V" not in self.observed_states:
            raise FitError(
                "nudge: pulls the voltage to its recording, and the target has no voltage. "
                f"Received: {float(nudge):g} per ms. Use stages with nudge: 0."
            )
        return tf.constant(nudge, self.dynamics.dtype)

    def _padded(self, target: Target, length: int) -> Data:
        extra = length - len(target.time)

        def tensor(trace):
            return tf.constant(np.pad(trace, ((0, extra), (0, 0)), "edge")[..., None], self.dynamics.dtype)

        valid = np.pad(np.ones(len(target.time)), (0, extra))
        initial = (
            None if target.initial is None else tf.constant(target.initial[:, None], self.dynamics.dtype)
        )
        return Data(
            tensor(target.stimulus),
            tuple(tensor(target.observed[state]) for state in self.observed_states),
            tf.constant(valid, self.dynamics.dtype),
            initial,
        )

    def _parameters(self, values: tf.Tensor, data: Data) -> dict[str, tf.Tensor]:
        shape = [data.stimulus.shape[1], values.shape[1]]
        values = tf.cast(values, self.dynamics.dtype)
        return {name: tf.broadcast_to(values[place], shape) for place, name in enumerate(self.names)}

    def _observed(self, data: Data, t) -> dict[str, tf.Tensor]:
        return {name: trace[t] for name, trace in zip(self.observed_states, data.observed, strict=True)}

    def _advance(self, state, P, nudge, data: Data, t) -> tuple[tf.Tensor, ...]:
        """Return the state after step t."""
        pull = self._observed(data, t).get("V", tf.zeros_like(data.stimulus[t]))
        return self.dynamics.advance(state, data.stimulus[t], P, nudge, pull)

    def _observe(self, state, data: Data, t) -> tuple[list, list]:
        """Return the residuals of the loss, and the errors of the observed states, after step t."""
        observed = self._observed(data, t)
        simulated = dict(zip(self.dynamics.states, state, strict=True))
        residuals = [r * data.valid[t] for r in self.loss.residuals(simulated, observed)]
        errors = [(simulated[name] - observed[name]) * data.valid[t] for name in self.observed_states]
        return residuals, errors

    def _losses_graph(self, values, nudge, data):
        P = self._parameters(values, data)

        def segment(first, state, sums):
            def body(k, state, sums):
                state = self._advance(state, P, nudge, data, first + k)
                residuals, errors = self._observe(state, data, first + k)
                squares = [_summed(residuals), *(error * error for error in errors)]
                return k + 1, state, tuple(a + b for a, b in zip(sums, squares, strict=True))

            zeros = tuple(tf.zeros_like(state[0]) for _ in sums)
            _, state, parts = tf.while_loop(lambda k, *_: k < _SEGMENT, body, (0, state, zeros))
            return first + _SEGMENT, state, _added(sums, parts)

        state = self.dynamics.initial(P, data.initial)
        sums = tuple(_zeros64(state[0]) for _ in range(1 + len(self.observed_states)))
        _, _, sums = tf.while_loop(
            lambda first, *_: first < self._segments * _SEGMENT, segment, (0, state, sums)
        )
        means = [tf.reduce_sum(total, axis=0) / self.samples for total in sums]
        return means[0], tf.stack(means[1:])

    def _normal_equations_graph(self, values, slope, nudge, data):
        P = self._parameters(values, data)
        slope = tf.unstack(tf.cast(slope, self.dynamics.dtype))

        def derivatives(outputs, tape, sources):
            return [tape.gradient(output, sources) for output in outputs]

        def chained(row, sensitivities):
            """Combine ∂y/∂(state, parameters) with ∂state/∂u; absent entries are structural zeros."""
            by_state, by_parameter = row[: len(sensitivities)], row[len(sensitivities) :]
            terms = [d[None] * S for d, S in zip(by_state, sensitivities, strict=True) if d is not None]
            if any(d is not None for d in by_parameter):
                zero = tf.zeros_like(next(iter(P.values())))
                terms.append(
                    tf.stack([zero if d is None else d * s for d, s in zip(by_parameter, slope, strict=True)])
                )
            return sum(terms[1:], terms[0]) if terms else tf.zeros_like(sensitivities[0])

        def segment(first, state, S, late, sums):
            def body(k, state, S, late, sums):
                # The Jacobian is multiplied one step late: as a loop variable it is in memory, while
                # as an expression it is computed anew for every element of JᵀJ (2 to 20 times slower).
                sums = tuple(a + b for a, b in zip(sums, products(late), strict=True))
                sources = [*state, *free_of(P)]
                with tf.GradientTape(persistent=True) as tape:
                    tape.watch(sources)
                    state = self._advance(state, P, nudge, data, first + k)
                S = tuple(chained(row, S) for row in derivatives(state, tape, sources))
                with tf.GradientTape(persistent=True) as tape:
                    tape.watch(state)
                    residuals, _ = self._observe(state, data, first + k)
                jacobians = tuple(chained(row, S) for row in derivatives(residuals, tape, state))
                return k + 1, state, S, (jacobians, tuple(residuals)), sums

            zeros = tuple(tf.zeros(part.shape, self.dynamics.dtype) for part in sums)
            _, state, S, late, parts = tf.while_loop(
                lambda k, *_: k < _SEGMENT, body, (0, state, S, late, zeros)
            )
            return first + _SEGMENT, state, S, late, _added(sums, parts)

        def products(late):
            """Return what one time adds to JᵀJ, Jᵀr and the sum of squares, summed over sweeps."""
            H = [tf.reduce_sum(J[:, None] * J[None, :], axis=2) for J in late[0]]
            g = [tf.reduce_sum(J * r[None], axis=1) for J, r in zip(*late, strict=True)]
            return sum(H[1:], H[0]), sum(g[1:], g[0]), tf.reduce_sum(_summed(late[1]), axis=0)

        def free_of(P):
            return [P[name] for name in self.free]

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(free_of(P))
            state = self.dynamics.initial(P, data.initial)
        number, starts = len(self.free), values.shape[1]
        nothing = tf.zeros([number, *state[0].shape], self.dynamics.dtype)
        S = tuple(chained([None, *row], (nothing,)) for row in derivatives(state, tape, free_of(P)))
        residuals = len(
            self.loss.residuals(dict(zip(self.dynamics.states, state, strict=True)), self._observed(data, 0))
        )
        late = (nothing,) * residuals, (tf.zeros_like(state[0]),) * residuals
        sums = tuple(
            tf.zeros(shape, tf.float64) for shape in ([number, number, starts], [number, starts], [starts])
        )
        _, _, _, _, sums = tf.while_loop(
            lambda first, *_: first < self._segments * _SEGMENT, segment, (0, state, S, late, sums)
        )
        return tuple(total / self.samples for total in sums)

    def _gradient_graph(self, values, slope, nudge, data):
        P = self._parameters(values, data)
        length, segments = self._adjoint_length, self._adjoint_segments
        free = [P[name] for name in self.free]

        def run(first, state, visit: Callable):
            """Run one segment forward; ``visit`` keeps each state before its step."""
            kept = visit(state)

            def body(k, state, kept):
                kept = tuple(array.write(k, value) for array, value in zip(kept, state, strict=True))
                return k + 1, self._advance(state, P, nudge, data, first + k), kept

            return tf.while_loop(lambda k, *_: k < length, body, (0, state, kept))[1:]

        def arrays(state, size):
            return tuple(
                tf.TensorArray(x.dtype, size=size, element_shape=x.shape, clear_after_read=False)
                for x in state
            )

        def forward(s, state, starts):
            starts = tuple(array.write(s, x) for array, x in zip(starts, state, strict=True))
            _, state = tf.while_loop(
                lambda k, *_: k < length,
                lambda k, state: (k + 1, self._advance(state, P, nudge, data, s * length + k)),
                (0, state),
            )
            return s + 1, state, starts

        with tf.GradientTape() as start_tape:
            start_tape.watch(free)
            state = self.dynamics.initial(P, data.initial)
        _, _, starts = tf.while_loop(lambda s, *_: s < segments, forward, (0, state, arrays(state, segments)))

        def backward(s, costate, totals, total):
            first = s * length
            _, kept = run(
                first, tuple(array.read(s) for array in starts), lambda state: arrays(state, length)
            )

            def body(k, costate, sums, squares):
                before = tuple(array.read(k) for array in kept)
                sources = [*before, *free]
                with tf.GradientTape() as tape:
                    tape.watch(sources)
                    new = self._advance(before, P, nudge, data, first + k)
                    square = _summed(self._observe(new, data, first + k)[0])
                found = tape.gradient(
                    [*new, square],
                    sources,
                    output_gradients=[*costate, tf.ones_like(square)],
                    unconnected_gradients=tf.UnconnectedGradients.ZERO,
                )
                sums = tuple(a + b for a, b in zip(sums, found[len(before) :], strict=True))
                return k - 1, tuple(found[: len(before)]), sums, squares + square

            zeros = tuple(tf.zeros_like(x) for x in free)
            _, costate, sums, squares = tf.while_loop(
                lambda k, *_: k >= 0, body, (length - 1, costate, zeros, tf.zeros_like(costate[0]))
            )
            return s - 1, costate, _added(totals, sums), total + tf.cast(squares, tf.float64)

        costate = tuple(tf.zeros_like(x) for x in state)
        totals = tuple(_zeros64(x) for x in free)
        _, costate, totals, total = tf.while_loop(
            lambda s, *_: s >= 0, backward, (segments - 1, costate, totals, _zeros64(state[0]))
        )
        at_start = start_tape.gradient(
            state, free, output_gradients=costate, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        gradient = tf.stack([tf.reduce_sum(x, axis=0) for x in _added(totals, at_start)])
        return gradient * tf.cast(slope, tf.float64) / self.samples, tf.reduce_sum(
            total, axis=0
        ) / self.samples


def _summed(residuals: list[tf.Tensor]) -> tf.Tensor:
    squares = [r * r for r in residuals]
    return sum(squares[1:], squares[0])


def _zeros64(like: tf.Tensor) -> tf.Tensor:
    return tf.zeros(like.shape, tf.float64)


def _added(sums, parts):
    return tuple(total + tf.cast(part, tf.float64) for total, part in zip(sums, parts, strict=True))
