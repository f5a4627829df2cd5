"""The compiled computations of a fit: losses, normal equations, adjoint gradient, traces.

All of them run the whole time loop in one XLA program. Time goes in segments: within a segment sums
are kept in the precision of the run, across segments in float64, so that a float32 fit of a long
recording still reaches its noise floor. Sums are over sweeps, never over starts.
"""

import itertools
import math
from collections.abc import Iterable
from functools import partial

import tensorflow as tf

from odynn.data import Target
from odynn.errors import FitError
from odynn.fitting.losses.combination import Loss, check_observed
from odynn.fitting.observation import Data, Observation
from odynn.simulation.dynamics import Dynamics

_SEGMENT = 32
# Rows of JᵀJ that are summed together.
_ROWS = 4
# Tensors in a stack from which XLA makes it before it is used; fewer become cases of a loop without vectors.
_APART = 9


class Kernels:
    """Compiled computations for one model, one target and the elementwise terms of one loss.

    Arguments and results of all of them have the start as last axis. ``values`` holds every
    parameter of the model, [parameter, start], in the order of ``names``; ``slope`` is dθ/du of the
    free ones, [free, start]; ``nudge`` is the gain K in 1/ms.

    A term may have running variables of its own (the memory of a filter): these follow the states
    of the model in what is carried from step to step, and derivatives go through them alike.
    """

    def __init__(self, dynamics: Dynamics, target: Target, loss: Loss, names: list[str], free: list[str]):
        """Prepare; compilation happens at the first call of each shape.

        Args:
            dynamics: the model's step.
            target: the sweeps to fit.
            loss: the loss; its terms per sweep are passed over.
            names: every parameter of the model.
            free: those that derivatives are taken for.

        Raises:
            FitError: if the target lacks a state that the loss needs.
        """
        check_observed(loss, target.observed)
        self.dynamics, self.names, self.free = dynamics, names, free
        self._steps = len(target.time)
        self._observation = Observation(dynamics, target, loss.elementwise)
        self.observed_states, self.samples = self._observation.states, self._observation.samples
        # One step of padding at least: the normal equations are summed one step late.
        self._segments = math.ceil((self._steps + 1) / _SEGMENT)
        self._data = self._observation.padded(self._segments * _SEGMENT)
        self._adjoint = AdjointPlan(self._steps)
        self._adjoint_data = self._observation.padded(self._adjoint.segments * self._adjoint.length)
        self._losses = tf.function(self._losses_graph, jit_compile=True, autograph=False)
        self._normal_equations = tf.function(self._normal_equations_graph, jit_compile=True, autograph=False)
        self._gradient = tf.function(self._gradient_graph, jit_compile=True, autograph=False)
        self._traces = tf.function(self._traces_graph, jit_compile=True, autograph=False)

    def losses(self, values: tf.Tensor, nudge: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Return what each term adds to the loss, [term, start], and mean squared errors, [state, start].

        The latter are those of each observed state, over the samples that are not missing.
        """
        return self._losses(values, self._number(nudge))

    def normal_equations(self, values: tf.Tensor, slope: tf.Tensor, nudge) -> tuple[tf.Tensor, ...]:
        """Return JᵀJ [free, free, start], Jᵀr [free, start] and the loss [start].

        J is the derivative of the residuals by u, accumulated by forward sensitivities: memory does
        not depend on the number of time steps. Both are divided by the number of samples.
        """
        return self._normal_equations(values, slope, self._number(nudge))

    def gradient(self, values: tf.Tensor, slope: tf.Tensor, nudge) -> tuple[tf.Tensor, ...]:
        """Return the derivative of the loss by u, [free, start], and the loss, [start].

        Computed by the discrete adjoint: the states at the start of each segment are kept, those
        within a segment recomputed, and the step's vector-Jacobian product is run backwards.
        """
        return self._gradient(values, slope, self._number(nudge))

    def traces(self, states: tuple[str, ...], values: tf.Tensor, nudge) -> tuple[tf.Tensor, ...]:
        """Return the states of these names after each step, [time, sweep, start] each."""
        return self._traces(states, values, self._number(nudge))

    def gradient_bytes(self) -> int:
        """Return the memory that ``gradient`` keeps states in, for one start."""
        carried = len(self.dynamics.states) + self._observation.variables
        sweeps = self._data.stimulus.shape[1]
        return self._adjoint.kept * carried * sweeps * self.dynamics.dtype.size

    def traces_bytes(self, states: tuple[str, ...]) -> int:
        """Return the memory that ``traces`` fills, for one start."""
        return self.samples * len(states) * self.dynamics.dtype.size

    def _number(self, nudge: float) -> tf.Tensor:
        if nudge != 0 and "V" not in self.observed_states:
            raise FitError(
                "nudge: pulls the voltage to its recording, and the target has no voltage. "
                f"Received: {float(nudge):g} per ms. Use stages with nudge: 0."
            )
        return tf.constant(nudge, self.dynamics.dtype)

    def _parameters(self, values: tf.Tensor, data: Data) -> dict[str, tf.Tensor]:
        shape = [data.stimulus.shape[1], values.shape[1]]
        values = tf.cast(values, self.dynamics.dtype)
        return {name: tf.broadcast_to(values[place], shape) for place, name in enumerate(self.names)}

    def _initial(self, P, data: Data) -> tuple[tf.Tensor, ...]:
        """Return what is carried from step to step: the states, then the running variables of the terms."""
        state = self.dynamics.initial(P, data.initial)
        return (*state, *self._observation.memory(state))

    def _advance(self, state, P, nudge, data: Data, t) -> tuple[tf.Tensor, ...]:
        """Return the states after step t."""
        gain, pull = self._observation.pull(data, t, nudge)
        return self.dynamics.advance(state, data.stimulus[t], P, gain, pull)

    def _step(self, carried, P, nudge, data: Data, t) -> tuple[tuple[tf.Tensor, ...], list]:
        """Return what is carried on after step t, and the residuals of each term."""
        state, memory = self._divided(carried)
        state = self._advance(state, P, nudge, data, t)
        memory, residuals = self._observation.residuals(state, memory, data, t)
        return (*state, *memory), residuals

    def _divided(self, carried) -> tuple[tuple, tuple]:
        """Return the states and the running variables of the terms, of what is carried."""
        number = len(self.dynamics.states)
        return tuple(carried[:number]), tuple(carried[number:])

    def _losses_graph(self, values, nudge):
        data = self._data
        P = self._parameters(values, data)

        def segment(first, carried, sums):
            def body(k, carried, sums):
                carried, residuals = self._step(carried, P, nudge, data, first + k)
                errors = self._observation.errors(self._divided(carried)[0], data, first + k)
                squares = [*map(_summed, residuals), *(error * error for error in errors)]
                return k + 1, carried, tuple(a + b for a, b in zip(sums, squares, strict=True))

            zeros = tuple(tf.zeros_like(carried[0]) for _ in sums)
            _, carried, parts = tf.while_loop(lambda k, *_: k < _SEGMENT, body, (0, carried, zeros))
            return first + _SEGMENT, carried, _added(sums, parts)

        carried, terms = self._initial(P, data), len(self._observation.terms)
        sums = tuple(_zeros64(carried[0]) for _ in range(terms + len(self.observed_states)))
        _, _, sums = tf.while_loop(
            lambda first, *_: first < self._segments * _SEGMENT, segment, (0, carried, sums)
        )
        means = [tf.reduce_sum(total, axis=0) / self.samples for total in sums]
        parts = tf.stack(means[:terms]) if terms else tf.zeros([0, values.shape[1]], tf.float64)
        return parts, tf.stack(means[terms:])

    def _traces_graph(self, states, values, nudge):
        data = self._data
        P = self._parameters(values, data)
        places = [self.dynamics.states.index(state) for state in states]
        state = self.dynamics.initial(P, data.initial)
        kept = tuple(
            tf.TensorArray(state[at].dtype, size=self._steps, element_shape=state[at].shape) for at in places
        )

        def body(t, state, kept):
            state = self._advance(state, P, nudge, data, t)
            return t + 1, state, tuple(a.write(t, state[at]) for a, at in zip(kept, places, strict=True))

        _, _, kept = tf.while_loop(lambda t, *_: t < self._steps, body, (0, state, kept))
        return tuple(array.stack() for array in kept)

    def _normal_equations_graph(self, values, slope, nudge):
        data = self._data
        P = self._parameters(values, data)
        free = [P[name] for name in self.free]
        slope = tf.unstack(tf.cast(slope, self.dynamics.dtype))
        number, starts = len(free), values.shape[1]
        nothing = tf.zeros([number, *free[0].shape], self.dynamics.dtype)
        unit = tf.eye(number, dtype=self.dynamics.dtype)[:, :, None, None]
        # JᵀJ is symmetric: of each group of its rows what begins at the diagonal.
        groups = [(first, min(first + _ROWS, number)) for first in range(0, number, _ROWS)]

        def differentiated(function, sources, S):
            """Return what a function gives, and its derivatives by u, from those of its sources.

            Args:
                function: of nothing, to a tuple of tensors that depend on sources and free parameters.
                sources: tensors [sweep, start].
                S: their derivatives, [free, sweep, start].
            """
            with tf.GradientTape(persistent=True) as tape:
                tape.watch([*sources, *free])
                outputs = function()
            return outputs, tuple(chained(tape.gradient(y, [*sources, *free]), S) for y in outputs)

        def chained(row, S):
            """Combine ∂y/∂(sources, parameters) with ∂sources/∂u; absent entries are structural zeros."""
            terms = [d[None] * s for d, s in zip(row, S, strict=False) if d is not None]
            direct = {
                place: d * s
                for place, (d, s) in enumerate(zip(row[len(S) :], slope, strict=True))
                if d is not None
            }
            if number < _APART:
                terms += [unit[place] * d[None] for place, d in direct.items()]
            elif direct:
                zero = tf.zeros_like(free[0])
                terms.append(tf.stack([direct.get(place, zero) for place in range(number)]))
            return sum(terms[1:], terms[0]) if terms else nothing

        def advanced(state, S, t):
            """Return the states after step t, and their derivatives by u, part by part of the step."""
            gain, pull = self._observation.pull(data, t, nudge)
            new, S_new = (), ()
            for part in self.dynamics.parts(state, data.stimulus[t], P, gain, pull):
                found, S_found = differentiated(partial(part, new), [*new, *state], [*S_new, *S])
                new, S_new = (*new, *found), (*S_new, *S_found)
            return new, S_new

        def observed(state, memory, S, t):
            """Return running variables and residuals after step t, with their derivatives by u."""

            def function():
                kept, residuals = self._observation.residuals(state, memory, data, t)
                return (*kept, *itertools.chain.from_iterable(residuals))

            found, S_found = differentiated(function, [*state, *memory], S)
            kept = self._observation.variables
            return found[:kept], S_found[:kept], (S_found[kept:], found[kept:])

        def segment(first, carried, S, late, sums):
            def body(k, carried, S, late, sums):
                # The Jacobian is multiplied one step late: as a loop variable it is in memory, while
                # as an expression it is computed anew for every element of JᵀJ (2 to 20 times slower).
                sums = tuple(a + b for a, b in zip(sums, products(late), strict=True))
                (state, memory), (S_state, S_memory) = self._divided(carried), self._divided(S)
                state, S_state = advanced(state, S_state, first + k)
                memory, S_memory, late = observed(state, memory, [*S_state, *S_memory], first + k)
                return k + 1, (*state, *memory), (*S_state, *S_memory), late, sums

            zeros = tuple(tf.zeros(part.shape, self.dynamics.dtype) for part in sums)
            _, carried, S, late, parts = tf.while_loop(
                lambda k, *_: k < _SEGMENT, body, (0, carried, S, late, zeros)
            )
            return first + _SEGMENT, carried, S, late, _added(sums, parts)

        def products(late):
            """Return what one time adds to JᵀJ, by groups, Jᵀr and the sum of squares, summed over sweeps."""
            H = [
                _total(tf.reduce_sum(J[first:last, None] * J[None, first:], axis=2) for J in late[0])
                for first, last in groups
            ]
            g = _total(tf.reduce_sum(J * r[None], axis=1) for J, r in zip(*late, strict=True))
            return *H, g, tf.reduce_sum(_summed(late[1]), axis=0)

        carried, S = differentiated(lambda: self._initial(P, data), [], [])
        residuals = self._observation.residuals(*self._divided(carried), data, 0)[1]
        residuals = sum(len(one) for one in residuals)
        late = (nothing,) * residuals, (tf.zeros_like(carried[0]),) * residuals
        shapes = [[last - first, number - first, starts] for first, last in groups]
        sums = tuple(tf.zeros(shape, tf.float64) for shape in (*shapes, [number, starts], [starts]))
        _, _, _, _, sums = tf.while_loop(
            lambda first, *_: first < self._segments * _SEGMENT, segment, (0, carried, S, late, sums)
        )
        *H, g, loss = (total / self.samples for total in sums)
        return _symmetric(H), g, loss

    def _gradient_graph(self, values, slope, nudge):
        data = self._adjoint_data
        P = self._parameters(values, data)
        length, segments = self._adjoint.length, self._adjoint.segments
        free = [P[name] for name in self.free]

        def run(first, carried, kept):
            """Run one segment forward and keep what was carried into each step."""

            def body(k, carried, kept):
                kept = tuple(array.write(k, value) for array, value in zip(kept, carried, strict=True))
                return k + 1, self._step(carried, P, nudge, data, first + k)[0], kept

            return tf.while_loop(lambda k, *_: k < length, body, (0, carried, kept))[2]

        def arrays(carried, size):
            return tuple(
                tf.TensorArray(x.dtype, size=size, element_shape=x.shape, clear_after_read=False)
                for x in carried
            )

        def forward(s, carried, starts):
            starts = tuple(array.write(s, x) for array, x in zip(starts, carried, strict=True))
            _, carried = tf.while_loop(
                lambda k, *_: k < length,
                lambda k, carried: (k + 1, self._step(carried, P, nudge, data, s * length + k)[0]),
                (0, carried),
            )
            return s + 1, carried, starts

        with tf.GradientTape() as start_tape:
            start_tape.watch(free)
            begin = self._initial(P, data)
        _, _, starts = tf.while_loop(lambda s, *_: s < segments, forward, (0, begin, arrays(begin, segments)))

        def backward(s, costate, totals, total):
            first = s * length
            kept = run(first, tuple(array.read(s) for array in starts), arrays(begin, length))

            def body(k, costate, sums, squares):
                before = tuple(array.read(k) for array in kept)
                sources = [*before, *free]
                with tf.GradientTape() as tape:
                    tape.watch(sources)
                    new, residuals = self._step(before, P, nudge, data, first + k)
                    square = _summed(itertools.chain.from_iterable(residuals))
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

        costate = tuple(tf.zeros_like(x) for x in begin)
        totals = tuple(_zeros64(x) for x in free)
        _, costate, totals, total = tf.while_loop(
            lambda s, *_: s >= 0, backward, (segments - 1, costate, totals, _zeros64(begin[0]))
        )
        at_start = start_tape.gradient(
            begin, free, output_gradients=costate, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        gradient = tf.stack([tf.reduce_sum(x, axis=0) for x in _added(totals, at_start)])
        return gradient * tf.cast(slope, tf.float64) / self.samples, tf.reduce_sum(
            total, axis=0
        ) / self.samples


class AdjointPlan:
    """How the adjoint divides time: into about as many segments as a segment has steps.

    The states are kept at the start of each segment and, one segment at a time, at each of its steps:
    together about 2 √T of them, the fewest that a single recomputation allows.

    Attributes:
        length: steps of a segment.
        segments: number of segments.

    >>> AdjointPlan(100_000).kept
    633
    """

    def __init__(self, steps: int):
        """Divide a number of time steps."""
        self.length = max(_SEGMENT, math.isqrt(steps - 1) + 1)
        self.segments = math.ceil(steps / self.length)

    @property
    def kept(self) -> int:
        """Number of times whose states are kept at once."""
        return self.length + self.segments


def _summed(residuals: Iterable[tf.Tensor]) -> tf.Tensor:
    return _total(r * r for r in residuals)


def _total(tensors: Iterable[tf.Tensor]) -> tf.Tensor:
    first, *others = tensors
    return sum(others, first)


def _symmetric(groups: list[tf.Tensor]) -> tf.Tensor:
    """Return a matrix [row, column, start] whose groups of rows are given from the diagonal on."""
    number = groups[0].shape[1]
    upper = tf.concat(
        [tf.pad(rows, [[0, 0], [number - rows.shape[1], 0], [0, 0]]) for rows in groups], axis=0
    )
    below = tf.linalg.band_part(tf.ones([number, number], tf.bool), -1, 0)[..., None]
    return tf.where(below, tf.transpose(upper, [1, 0, 2]), upper)


def _zeros64(like: tf.Tensor) -> tf.Tensor:
    return tf.zeros(like.shape, tf.float64)


def _added(sums, parts):
    return tuple(total + tf.cast(part, tf.float64) for total, part in zip(sums, parts, strict=True))
