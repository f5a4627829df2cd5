"""A model as pure functions of state, stimulus and parameters, for compilation.

Every state variable and every parameter is a tensor of its own, of one shape [sweep, start]: stacked
in one tensor they cost a slice and a concatenation a step, which is most of the time of a step.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from odynn.errors import ModelError, did_you_mean, users_code
from odynn.models import load_model
from odynn.models.clamp import model_under
from odynn.models.equations import SOLVERS
from odynn.models.initial import initial_states
from odynn.models.model import BioNeuron


@dataclass(frozen=True)
class Dynamics:
    """The step and the initial state of a model.

    Attributes:
        model: the class.
        dt: time step, ms.
        solver: for declared models; a step written by hand is its own solver.
        precision: "float32" or "float64".
        leaders: name of each parameter that shares the value of another, to the name of that one.

    Raises:
        ModelError: if the solver or the precision is unknown, or dt is not above 0.
    """

    model: type[BioNeuron]
    dt: float
    solver: str = "implicit_euler"
    precision: str = "float32"
    leaders: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self):
        if self.solver not in SOLVERS:
            raise ModelError(
                f"solver: expected {' or '.join(SOLVERS)}. Received: solver={self.solver!r}."
                f"{did_you_mean(self.solver, SOLVERS)}"
            )
        if self.precision not in ("float32", "float64"):
            raise ModelError(
                f"precision: expected float32 or float64. Received: precision={self.precision!r}."
                f"{did_you_mean(self.precision, ('float32', 'float64'))}"
            )
        if not self.dt > 0:
            raise ModelError(f"dt: expected a number > 0, in ms. Received: dt={self.dt!r}.")

    @property
    def dtype(self) -> tf.DType:
        """Type of states and parameters."""
        return tf.as_dtype(self.precision)

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state variables."""
        return self.model.states

    @property
    def declared(self) -> bool:
        """Whether the step follows from a declared membrane."""
        return self.model.membrane is not None and self.model.step is BioNeuron.step

    def advance(
        self, state: tuple[tf.Tensor, ...], stimulus: tf.Tensor, P: Mapping[str, tf.Tensor], nudge, observed
    ) -> tuple[tf.Tensor, ...]:
        """Return the state one step later.

        Args:
            state: one tensor [sweep, start] a state variable.
            stimulus: [sweep, 1] µA/cm²; mV for a model in voltage clamp.
            P: parameter name to [sweep, start].
            nudge: gain K, a scalar in 1/ms; 0 for the free run.
            observed: [sweep, 1] mV that the gain pulls to.
        """
        new: tuple[tf.Tensor, ...] = ()
        for part in self.parts(state, stimulus, P, nudge, observed):
            new += part(new)
        return new

    def parts(
        self, state: tuple[tf.Tensor, ...], stimulus: tf.Tensor, P: Mapping[str, tf.Tensor], nudge, observed
    ) -> tuple[Callable[[tuple[tf.Tensor, ...]], tuple[tf.Tensor, ...]], ...]:
        """Return the step in parts, see ``Membrane.parts``; the arguments are those of ``advance``."""
        P = self._tied(P)
        if self.declared:
            return self.model.membrane.parts(state, stimulus, P, self.dt, self.solver, nudge, observed)
        return (lambda _: self._own_step(state, stimulus, P, nudge, observed),)

    def _own_step(self, state, stimulus, P, nudge, observed) -> tuple[tf.Tensor, ...]:
        """Return the state after the step that a model has written by hand."""
        neuron = self.model(self.model.default_params, tensors=True, dt=self.dt)
        neuron._param = neuron._init_p = dict(P)
        shape = state[0].shape
        rule = (
            f"{self.model.__name__}.step(X, i) must return the new state as TensorFlow tensors where it "
            f"gets them, in the shape of X, {[len(state), *shape]}."
        )
        remedy = "The functions of odynn.models.kinetics (exp, sigmoid, where, stack) serve both kinds."
        with users_code(ModelError, rule, remedy):
            new = tf.unstack(neuron.step(tf.stack(state), tf.broadcast_to(stimulus, shape)), num=len(state))
            new = [tf.ensure_shape(tf.cast(value, self.dtype), shape) for value in new]
        # Operator splitting: the exact solution of dV/dt = K (V_obs - V) over dt, after the step; in this
        # form K = 0 leaves every bit of V.
        place = self.model.V_pos
        new[place] = new[place] - (observed - new[place]) * tf.math.expm1(-nudge * self.dt)
        return tuple(new)

    def initial(self, P: Mapping[str, tf.Tensor], voltage: tf.Tensor | None) -> tuple[tf.Tensor, ...]:
        """Return the initial state.

        Args:
            P: parameter name to [sweep, start]. A state whose initial value is among them (see
                ``odynn.models.initial``) begins there, whatever the voltage.
            voltage: [sweep, 1] mV to rest at, gates at their steady state; None for the model's
                ``default_init_state``. A step written by hand has no known steady state: only its
                voltage is set.
        """
        P = self._tied(P)
        shape = next(iter(P.values())).shape
        if voltage is not None and self.declared:
            rest = self.model.membrane.steady_state(tf.broadcast_to(voltage, shape), P)
            state = [tf.broadcast_to(value, shape) for value in rest]
        else:
            start = np.atleast_1d(np.asarray(self.model.default_init_state, dtype=float))
            state = [tf.fill(shape, tf.constant(value, self.dtype)) for value in start]
            if voltage is not None:
                state[self.model.V_pos] = tf.broadcast_to(voltage, shape)
        for place, name in initial_states(self.model, P).items():
            state[place] = tf.identity(P[name])
        return tuple(state)

    def _tied(self, P: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
        """Return the parameters with those that share a value as one tensor, so that derivatives add up."""
        return {**P, **{name: P[leader] for name, leader in self.leaders.items()}}


def experiment_dynamics(settings: Mapping, clamp: str = "current") -> Dynamics:
    """Return the step of an experiment.

    Args:
        settings: model, solver, dt, precision.
        clamp: of its target; "voltage": the stimulus is a voltage, and the model has the state "I".
    """
    model = model_under(load_model(settings["model"]), clamp)
    return Dynamics(model, settings["dt"], settings["solver"], settings["precision"])
