"""Free runs of many parameter sets under many sweeps at once."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from odynn.errors import ModelError, listed
from odynn.models.initial import initial_states
from odynn.simulation.blocks import TRACES, Blocks
from odynn.simulation.device import memory_budget
from odynn.simulation.dynamics import Dynamics


class Simulator:
    """Simulates a model on CPU or GPU, compiled once for each shape.

    >>> from odynn.models import load_model
    >>> simulator = Simulator(Dynamics(load_model("leaky"), dt=1.0, precision="float64"))
    >>> parameters = {"C_m": np.ones(2), "g_L": np.full(2, 0.1), "E_L": np.full(2, -60.0)}
    >>> traces = simulator.traces(parameters, stimulus=np.zeros((5, 3)))
    >>> traces["V"].shape
    (5, 3, 2)
    """

    def __init__(self, dynamics: Dynamics, threads: int = 1):
        """Take the model's step.

        Args:
            dynamics: the model's step and initial state.
            threads: blocks of starts simulated at once.
        """
        self.dynamics = dynamics
        self._threads = threads
        self._run = tf.function(self._graph, jit_compile=True, autograph=False)

    def traces(
        self,
        values: Mapping[str, np.ndarray],
        stimulus: np.ndarray,
        initial: np.ndarray | None = None,
        states: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """Simulate every parameter set under every sweep.

        Args:
            values: every parameter of the model to [start], in the units of its table; and initial
                values of states (see ``odynn.models.initial``), where they were fitted.
            stimulus: [time, sweep] µA/cm²; mV for a model in voltage clamp.
            initial: [sweep] mV to start from, gates at their steady state; None for the model's own
                initial state.
            states: names of those that are wanted; None for all of the model.

        Returns:
            State name to [time, sweep, start]: the state after each step.

        Raises:
            ModelError: if a parameter of the model has no values, arrays have other shapes, or the model
                has no such state.
        """
        names = self.dynamics.model.parameter_names
        missing = [name for name in names if name not in values]
        if missing:
            raise ModelError(
                f"values: must hold every parameter of {self.dynamics.model.__name__}. "
                f"Missing: {listed(missing)}."
            )
        states = self.dynamics.states if states is None else tuple(states)
        unknown = [state for state in states if state not in self.dynamics.states]
        if unknown or not states:
            raise ModelError(
                f"states: expected some of {listed(self.dynamics.states)}. Received: "
                f"{listed(states) or 'none'}."
            )
        names = [*names, *initial_states(self.dynamics.model, values).values()]
        columns = [_numbers(f"values['{name}']", values[name], ("start",)) for name in names]
        stimulus = _numbers("stimulus", stimulus, ("time", "sweep"))
        initial = None if initial is None else _numbers("initial", initial, ("sweep",))
        for name, column in zip(names, columns, strict=True):
            _check_length(f"values['{name}']", column, "start", len(columns[0]), f"values['{names[0]}']")
        if initial is not None:
            _check_length("initial", initial, "sweep", stimulus.shape[1], "stimulus")
        columns = np.array(columns)
        stimulus = tf.constant(stimulus[..., None], self.dynamics.dtype)
        initial = None if initial is None else tf.constant(initial[:, None], self.dynamics.dtype)
        kept = int(tf.size(stimulus)) * len(states) * self.dynamics.dtype.size
        blocks = Blocks.of(stimulus.shape[1], columns.shape[1], self._threads, TRACES)
        blocks = blocks.within(kept, memory_budget())
        traces = blocks.run(
            lambda block: self._run(block, stimulus, initial, tuple(names), states), [columns]
        )
        return dict(zip(states, traces, strict=True))

    def _graph(self, values, stimulus, initial, names, states):
        steps, sweeps, _ = stimulus.shape
        values = tf.cast(values, self.dynamics.dtype)
        P = {
            name: tf.broadcast_to(values[place], [sweeps, values.shape[1]])
            for place, name in enumerate(names)
        }
        state = self.dynamics.initial(P, initial)
        places = [self.dynamics.states.index(name) for name in states]
        kept = tuple(
            tf.TensorArray(state[place].dtype, size=steps, element_shape=state[place].shape)
            for place in places
        )
        free_run = tf.zeros([], self.dynamics.dtype)

        def body(t, state, kept):
            state = self.dynamics.advance(state, stimulus[t], P, free_run, tf.zeros_like(stimulus[t]))
            return (
                t + 1,
                state,
                tuple(array.write(t, state[place]) for array, place in zip(kept, places, strict=True)),
            )

        _, _, kept = tf.while_loop(lambda t, *_: t < steps, body, (0, state, kept))
        return tuple(array.stack() for array in kept)


def _numbers(name: str, array: object, axes: tuple[str, ...]) -> np.ndarray:
    """Return an argument as an array of numbers with these axes, none of them empty."""
    try:
        found = np.asarray(array, dtype=float)
    except (TypeError, ValueError):
        found, received = None, f"{type(array).__name__} that is no array of numbers"
    else:
        received = f"shape {list(found.shape)}"
    if found is None or found.ndim != len(axes) or not found.size:
        raise ModelError(
            f"{name}: expected an array of numbers [{', '.join(axes)}], not empty. Received: {received}. "
            "Give it these axes, in this order; one start or one sweep is an axis of length 1."
        )
    return found


def _check_length(name: str, array: np.ndarray, axis: str, length: int, other: str) -> None:
    if len(array) != length:
        raise ModelError(
            f"{name}: expected as many values along [{axis}] as {other} has, {length}. "
            f"Received: {len(array)}. Give one for each {axis}."
        )
