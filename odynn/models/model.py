"""The model classes of the public API: ``Neuron``, and ``BioNeuron`` with parameters to be fitted."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from odynn.data import Parameter
from odynn.errors import ModelError
from odynn.models.equations import Membrane
from odynn.models.kinetics import Values, sigmoid, stack
from odynn.models.neuron import Neuron, classproperty, merge_neurons

__all__ = ["BioNeuron", "Neuron"]

DENSITY = "µA/cm²"
"""Unit of stimulus and currents, unless conductances are those of a whole cell."""

_CURRENT_UNITS = {"mS/cm²": DENSITY, "µS": "nA", "nS": "pA"}
"""What a conductance times mV is."""


class BioNeuron(Neuron):
    """A neuron model with parameters, one neuron or many at once.

    The convenient way to write a model is to declare ``parameters`` (the table) and ``membrane``
    (gates, currents, concentrations): the step, the random starts, the steady state and the figures
    follow. A class with just ``default_params``, ``default_init_state`` and its own ``step``
    simulates and fits as well.

    Attributes:
        parameters: the parameter table, one row a parameter.
        membrane: the declared equations, or None where ``step`` is written by hand.
        initial_voltage: mV, for a declared model whose initial state is the steady state there.
        solver: "implicit_euler" or "exponential_euler", for the declared step.
        spiking: whether the model fires spikes, which decides the default stages of a fit.
        default_params: parameter name to default value.
    """

    parameters: ClassVar[Sequence[Parameter]] = ()
    membrane: ClassVar[Membrane | None] = None
    initial_voltage: ClassVar[float | None] = None
    solver = "implicit_euler"
    spiking: ClassVar[bool] = False
    default_params: ClassVar[Mapping[str, float] | None] = None
    _constraints_dic: ClassVar[Mapping[str, Sequence[float]] | None] = None

    def __init_subclass__(cls, **kwargs):
        """Derive what a declared model leaves out."""
        super().__init_subclass__(**kwargs)
        if "parameters" in cls.__dict__:
            cls.default_params = {row.name: row.default for row in cls.parameters}
        if "membrane" in cls.__dict__ and "_ions" not in cls.__dict__ and cls.membrane is not None:
            cls._ions = {ion: cls.membrane.states.index(ion) for ion in cls.membrane.concentrations}
        changed = {"parameters", "default_params", "membrane", "initial_voltage"} & set(cls.__dict__)
        if changed and cls.membrane is not None and cls.initial_voltage is not None:
            if "default_init_state" not in cls.__dict__:
                rest = cls.membrane.steady_state(np.float64(cls.initial_voltage), cls.default_params)
                cls.default_init_state = np.array([float(value) for value in rest])

    def __init__(self, init_p=None, tensors: bool = False, dt: float = 0.1):
        """Take parameters of one neuron or of several.

        Args:
            init_p: None for the defaults, "random" for random values, a dict of values (of arrays
                for several neurons), or a list of dicts, one a neuron.
            tensors: whether ``step`` receives TensorFlow tensors instead of arrays.
            dt: time step, ms.
        """
        super().__init__(dt=dt)
        if init_p is None:
            init_p = self.default_params
        elif isinstance(init_p, str) and init_p == "random":
            init_p = self.get_random()
        elif isinstance(init_p, list) and len(init_p) == 1:
            init_p = init_p[0]
        if isinstance(init_p, list):
            if not init_p:
                raise ModelError(
                    f"{type(self).__name__}: init_p must hold at least one dict of parameters. "
                    "Received: []. Leave init_p out for the default parameters."
                )
            init_p = {name: np.array([neuron[name] for neuron in init_p]) for name in init_p[0]}
        elif np.ndim(next(iter(init_p.values()), 0.0)) > 0:
            init_p = {name: np.asarray(values) for name, values in init_p.items()}
        else:
            init_p = dict(init_p)
        first = next(iter(init_p.values()), 0.0)
        if np.ndim(first) > 0:
            self._num = len(first)
            self._init_state = np.stack([np.asarray(self._init_state)] * self._num, axis=-1)
        else:
            self._num = 1
        self._tensors = tensors
        self._init_p = init_p
        self._param = dict(init_p)

    @classproperty
    def parameter_names(cls) -> list[str]:
        """Names of the parameters, in the order of ``default_params``."""
        # Computed when asked: default_params may be assigned after the class body.
        return list(cls.default_params or {})

    @classproperty
    def states(cls) -> tuple[str, ...]:
        """Names of the state variables, "V" first where ``V_pos`` is 0."""
        count = len(np.atleast_1d(cls.default_init_state))
        if cls.membrane is not None:
            # A step of its own may have more states than the declaration that it builds on.
            declared = cls.membrane.states
            return declared + tuple(f"x{place}" for place in range(len(declared), count))
        names = {cls.V_pos % count: "V"} | {place % count: ion for ion, place in cls.ions.items()}
        return tuple(names.get(place, f"x{place}") for place in range(count))

    @classmethod
    def state_unit(cls, state: str) -> str:
        """Return the unit of a state: mV, that of a current or concentration, or "1" for a gate."""
        if state == "V":
            return "mV"
        if state == "I" and cls.membrane is not None and cls.membrane.states[-1] == "I":
            return cls.current_unit
        concentrations = {} if cls.membrane is None else cls.membrane.concentrations
        return concentrations[state].unit if state in concentrations else "1"

    @classproperty
    def current_unit(cls) -> str:
        """Unit of the currents: µA/cm², or that of a whole cell where conductances are."""
        table, membrane = cls.table(), cls.membrane
        units = (
            [] if membrane is None else [table[one.conductance].unit for one in membrane.currents.values()]
        )
        return _CURRENT_UNITS.get(units[0], DENSITY) if units else DENSITY

    @classmethod
    def table(cls) -> dict[str, Parameter]:
        """Return the parameter table by name; for a class without one, rows around its defaults.

        Such a row takes its bounds from ``_constraints_dic`` where there is an entry, or else from
        ten times below to ten times above the default (for a reversal potential or midpoint, 50 mV
        around it), and draws its random starts from there. What is bounded by a multiple of a positive
        default has a log scale, where its lower bound allows it.
        """
        declared = {row.name: row for row in cls.parameters}
        return {
            name: declared[name].changed(default=float(value))
            if name in declared
            else cls._row_around(name, float(value))
            for name, value in (cls.default_params or {}).items()
        }

    @classmethod
    def _row_around(cls, name: str, value: float) -> Parameter:
        shifted = name.startswith("E_") or name.endswith("__mdp") or value == 0
        if shifted:
            lower, upper = value - 50.0, value + 50.0
        else:
            lower, upper = sorted((value / 10, value * 10))
        limits = (cls._constraints_dic or {}).get(name, (lower, upper))
        bounds = tuple(
            float(limit) if np.isfinite(limit) else other
            for limit, other in zip(limits, (lower, upper), strict=True)
        )
        inside = (min(max(lower, bounds[0]), value), max(min(upper, bounds[1]), value))
        scale = "linear" if shifted or bounds[0] <= 0 else "log"
        return Parameter(name, value, "1", bounds, inside, scale, "undocumented")

    @classmethod
    def get_random(cls, generator: np.random.Generator | None = None) -> dict[str, float]:
        """Draw every parameter from the range of random starts in its table.

        Args:
            generator: source of randomness; None for a fresh, unseeded one.

        Returns:
            Parameter name to value, with the keys of ``default_params``. Log parameters are drawn
            uniformly in their logarithm.
        """
        generator = np.random.default_rng() if generator is None else generator
        drawn = {}
        for name, row in cls.table().items():
            lower, upper = row.start
            share = generator.random()
            if row.scale == "log":
                drawn[name] = float(lower * (upper / lower) ** share)
            else:
                drawn[name] = float(lower + (upper - lower) * share)
        return drawn

    def parallelize(self, n: int) -> None:
        """Add an axis of size n to the initial parameters and the initial state.

        Args:
            n: number of copies, varying fastest.
        """
        self._init_p = {
            name: np.stack([np.asarray(value)] * n, axis=-1) for name, value in self._init_p.items()
        }
        self._init_state = np.stack([np.asarray(self._init_state)] * n, axis=-1)
        self._param = dict(self._init_p)

    def step(self, X: Values, i: Values) -> Values:
        """Advance the state by one time step of length ``dt``.

        Args:
            X: [state(, batch(, neuron))], ndarray or tensor.
            i: stimulus in µA/cm², broadcastable to one state variable.

        Returns:
            The new state, in the shape of X.
        """
        if self.membrane is None:
            raise ModelError(
                f"{type(self).__name__} declares no membrane and has no step of its own. "
                "Write `membrane = Membrane(...)` in the class, or a method `step(self, X, i)`."
            )
        state = tuple(X[place] for place in range(len(self.membrane.states)))
        return stack(list(self.membrane.advance(state, i, self._param, self.dt, solver=self.solver)))

    def calculate(self, i_inj: Values) -> np.ndarray:
        """Simulate with ``step`` over time.

        Args:
            i_inj: stimulus in µA/cm²: [time]; [time, batch], every neuron under every stimulus; or
                [time, batch, neuron], each neuron its own.

        Returns:
            States after each step, [time, state(, batch)(, neuron)].

        Raises:
            ModelError: if the stimulus has more axes than that, or another number of neurons.
        """
        i_inj = np.asarray(i_inj)
        start = np.asarray(self._init_state)
        neurons = start.shape[1:]
        if i_inj.ndim > 1:
            if i_inj.ndim == 2:
                i_inj = i_inj.reshape(*i_inj.shape, *(1 for _ in neurons))
            elif neurons and i_inj.shape[2:] != neurons or not neurons and i_inj.ndim > 3:
                raise ModelError(
                    f"calculate: a stimulus of {i_inj.ndim} axes must be [time, batch, neuron] with neurons "
                    f"{neurons or (1,)}. Received: shape {i_inj.shape}. Give [time, batch] to stimulate "
                    "every neuron alike."
                )
            shape = (len(start), *np.broadcast_shapes(i_inj.shape[1:], (1, *neurons)))
            start = np.broadcast_to(
                start.reshape(len(start), 1, *neurons, *(1,) * (len(shape) - 2 - len(neurons))), shape
            )
        X = start
        if self._tensors:
            import tensorflow as tf

            # A state or a stimulus given in whole numbers must not make tensors of whole numbers.
            kind = np.result_type(start.dtype, np.float32)
            X, i_inj = tf.constant(X, kind), tf.constant(i_inj, kind)
        steps = []
        for stimulus in i_inj:
            X = self.step(X, stimulus)
            steps.append(X)
        return np.array(steps)

    def currents(self, states: np.ndarray) -> dict[str, np.ndarray]:
        """Return the declared ionic currents of a simulation.

        Args:
            states: [time, state(, batch)(, neuron)].

        Returns:
            "I_" and the name of each current to values in µA/cm², outward positive; empty without a
            declared membrane.
        """
        if self.membrane is None:
            return {}
        by_name = {name: states[:, place] for place, name in enumerate(self.membrane.states)}
        neurons, given = np.asarray(self._init_state).shape[1:], by_name["V"].shape[1:]
        if neurons and given[-len(neurons) :] != neurons:
            raise ModelError(
                f"states: must be [time, state(, batch), neuron] with neurons {neurons}. "
                f"Received: shape {np.shape(states)}. Give the states of the same object's calculate."
            )
        currents = self.membrane.ionic_currents(by_name, self._param)
        return {f"I_{name}": np.broadcast_to(values, by_name["V"].shape) for name, values in currents.items()}

    def plot_results(self, ts, i_inj_values, results, ca_true=None, suffix="", show=True, save=False):
        """Draw an experiment in detail: voltage, ions, currents, gates and stimulus.

        Args:
            ts: time in ms, [time].
            i_inj_values: stimulus in µA/cm², [time(, neuron)].
            results: states as ``calculate`` returns them, [time, state(, batch)(, neuron)].
            ca_true: measured concentration of the first ion, [time(, neuron)].
            suffix: end of the name of the saved file, ``results_{suffix}.png``.
            show: open a window.
            save: write the figure: True for the current folder, or the path of a folder.

        Returns:
            The matplotlib Figure.
        """
        from odynn.plotting import neuron_details, show_or_save

        results = np.asarray(results)
        currents = {name: merge_neurons(trace, axis=1) for name, trace in self.currents(results).items()}
        traces = merge_neurons(results, axis=2)
        ions = {ion: traces[:, place] for ion, place in self.ions.items()}
        others = {self.V_pos % traces.shape[1], *(place % traces.shape[1] for place in self.ions.values())}
        gates = {name: traces[:, place] for place, name in enumerate(self.states) if place not in others}
        target = (
            {}
            if ca_true is None or not ions
            else {next(iter(ions)): merge_neurons(np.asarray(ca_true), axis=1)}
        )
        figure = neuron_details(
            np.asarray(ts),
            merge_neurons(np.asarray(i_inj_values), axis=1),
            traces[:, self.V_pos],
            ions,
            currents,
            gates,
            target_ions=target,
            title=type(self).__name__,
        )
        show_or_save(figure, show, save, f"results_{suffix}")
        return figure

    # Helpers that models written by hand for the original library call in their step.

    def _inf(self, V: Values, rate: str) -> Values:
        return sigmoid((V - self._param[f"{rate}__mdp"]) / self._param[f"{rate}__scale"])

    def _update_gate(self, rate: Values, name: str, V: Values) -> Values:
        tau = self._param[f"{name}__tau"]
        return (tau * rate + self.dt * self._inf(V, name)) / (tau + self.dt)
