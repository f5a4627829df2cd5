"""``Neuron``: anything that has a state, takes a stimulus, and can be advanced by one step."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from odynn.models.kinetics import Values


class classproperty:
    """A read-only property of a class that its instances share."""

    def __init__(self, compute):
        self.compute = compute

    def __get__(self, instance, owner):
        """Return the value for the class."""
        return self.compute(owner)


class Neuron(ABC):
    """Anything that has a state, takes a stimulus, and can be advanced by one step.

    Attributes:
        V_pos: index of the voltage in the state vector.
        default_init_state: initial state vector, [state].
        ions: ion name to its index in the state vector.
        dt: time step, ms.
    """

    V_pos: ClassVar[int] = 0
    default_init_state: ClassVar[Any] = None
    _ions: ClassVar[Mapping[str, int]] = {}
    _num = 1

    def __init__(self, dt: float = 0.1):
        """Start from the default initial state.

        Args:
            dt: time step, ms.
        """
        self.dt = dt
        self._init_state = self.default_init_state

    @property
    def num(self) -> int:
        """Number of neurons in this object."""
        return self._num

    @property
    def init_state(self):
        """Initial state vector, [state(, neuron)]."""
        return self._init_state

    @classproperty
    def ions(cls) -> Mapping[str, int]:
        """Ion name to its index in the state vector."""
        return cls._ions

    @abstractmethod
    def step(self, X: Values, i: Values) -> Values:
        """Advance the state by one time step.

        Args:
            X: state, [state(, batch(, neuron))].
            i: stimulus in µA/cm², broadcastable to one state variable.

        Returns:
            The new state, in the shape of X.
        """

    @abstractmethod
    def calculate(self, i: Values) -> np.ndarray:
        """Simulate.

        Args:
            i: stimulus in µA/cm², [time(, batch(, neuron))].

        Returns:
            States after each step, [time, state(, batch(, neuron))].
        """

    @classmethod
    def plot_output(
        cls,
        ts,
        i_inj,
        states,
        y_states=None,
        suffix="",
        show=True,
        save=False,
        l=1,  # noqa: E741 - the original library's name
        lt=1,
        targstyle="-",
    ):
        """Draw voltage and ion concentrations, against a target if one is given.

        Args:
            ts: time in ms, [time].
            i_inj: stimulus in µA/cm², [time(, neuron)].
            states: [time, state(, neuron)].
            y_states: one entry a state, [time(, neuron)] or None where nothing was observed.
            suffix: end of the name of the saved file, ``output_{suffix}.png``.
            show: open a window.
            save: write the figure: True for the current folder, or the path of a folder.
            l: width of the model's lines.
            lt: width of the target's lines.
            targstyle: line style of the target.

        Returns:
            The matplotlib Figure.
        """
        from odynn.plotting import neuron_output, show_or_save

        states = merge_neurons(np.asarray(states), axis=2)
        targets = None
        if y_states is not None:
            targets = {
                place: merge_neurons(np.asarray(y), axis=1)
                for place, y in enumerate(y_states)
                if y is not None
            }

        def target(place):
            # Ions may be declared with an index counted from the end.
            return None if targets is None else targets.get(place % states.shape[1])

        figure = neuron_output(
            np.asarray(ts),
            merge_neurons(np.asarray(i_inj), axis=1),
            states[:, cls.V_pos],
            {ion: states[:, place] for ion, place in cls.ions.items()},
            target_voltage=target(cls.V_pos),
            target_ions={ion: target(place) for ion, place in cls.ions.items() if target(place) is not None},
            linewidth=l,
            target_linewidth=lt,
            target_style=targstyle,
        )
        show_or_save(figure, show, save, f"output_{suffix}")
        return figure


def merge_neurons(values: np.ndarray, axis: int) -> np.ndarray:
    """Merge all axes from ``axis`` on into one, so that each neuron and batch is a line."""
    return values if values.ndim <= axis else values.reshape(*values.shape[:axis], -1)
