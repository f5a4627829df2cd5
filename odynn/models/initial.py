"""Initial values of states as parameters, for an experiment that fits where its sweeps begin.

The initial value of a state x is the parameter ``x__initial``, one number for all sweeps: a row like
any other, with a unit, bounds and a place in every file and figure. The voltage has none: it begins
where the recording does.
"""

from collections.abc import Container, Mapping

import numpy as np

from odynn.data import Parameter
from odynn.errors import ModelError
from odynn.models.model import BioNeuron

# Voltages at which a concentration is looked at for its box, and how many times the largest the box holds.
_VOLTAGES = np.linspace(-80.0, 40.0, 121)
_ROOM = 10.0


def initial_name(state: str) -> str:
    """Return the name of the parameter that is the initial value of a state.

    >>> initial_name("m")
    'm__initial'
    """
    return f"{state}__initial"


def initial_states(model: type[BioNeuron], names: Container[str]) -> dict[int, str]:
    """Return the places in the state vector whose initial value is among these parameters, and its name.

    Args:
        model: a parameter of its own that happens to have such a name is not meant.
        names: of parameters.
    """
    own = set(model.parameter_names)
    found = {place: initial_name(state) for place, state in enumerate(model.states)}
    return {place: name for place, name in found.items() if name in names and name not in own}


def initial_rows(model: type[BioNeuron], bounds: Mapping[str, object]) -> dict[str, Parameter]:
    """Return a row for the initial value of every state but the voltage.

    A gate lies between 0 and 1. A concentration lies between 0 and ten times the largest at which it
    rests with the default parameters between -80 and 40 mV. The default is the model's own initial
    state.

    Args:
        model: the model class.
        bounds: what the experiment bounds itself, by name; a state that the model does not declare,
            of a step written by hand, must be there.

    Raises:
        ModelError: if nothing bounds a state, or a parameter of the model has such a name already.
    """
    rows = {}
    start = np.atleast_1d(np.asarray(model.default_init_state, dtype=float))
    for state, value in zip(model.states, start, strict=True):
        name = initial_name(state)
        if state == "V":
            continue
        if name in model.parameter_names:
            raise ModelError(
                f"initial_state: fitted makes a parameter '{name}', and {model.__name__} has one of its own. "
                "Rename that one, or choose another initial_state."
            )
        box = _box(model, state)
        if box is None:
            if name not in bounds:
                raise ModelError(
                    "initial_state: fitted needs bounds of every initial value, and "
                    f"{model.__name__} does not declare what its state '{state}' is. "
                    f"Add parameters.bounds.{name}: [lower, upper]."
                )
            box = tuple(map(float, bounds[name]))
        rows[name] = Parameter(
            name,
            float(np.clip(value, *box)),
            model.state_unit(state),
            box,
            meaning=f"{state} at the beginning of every sweep",
        )
    return rows


def _box(model: type[BioNeuron], state: str) -> tuple[float, float] | None:
    membrane = model.membrane
    if membrane is None or state not in membrane.states:
        return None
    if state in membrane.gates:
        return (0.0, 1.0)
    defaults = {name: np.float64(value) for name, value in model.default_params.items()}
    rest = membrane.steady_state(_VOLTAGES, defaults)[membrane.states.index(state)]
    return (0.0, _ROOM * float(np.max(np.abs(rest))) or 1.0)


def resting_values(model: type[BioNeuron], values: Mapping[str, float]) -> dict[str, float]:
    """Return the initial value of every state but the voltage for a neuron at rest.

    Args:
        model: one without a declared membrane has no known rest: its own initial state is taken.
        values: parameters of one neuron, which rests at the voltage of the model's initial state.

    Returns:
        Name of the parameter to its value.
    """
    state = np.atleast_1d(np.asarray(model.default_init_state, dtype=float))
    if model.membrane is not None and model.step is BioNeuron.step:
        state = model.membrane.steady_state(np.float64(state[model.V_pos]), values)
    return {
        initial_name(name): float(value)
        for name, value in zip(model.states, state, strict=True)
        if name != "V"
    }
