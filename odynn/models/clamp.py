"""Voltage clamp: the voltage is prescribed, and the current that it takes is what a model predicts.

Any declared membrane can be clamped. Between two changes of the command its gates relax exponentially,
which is computed exactly, whatever solver an experiment names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache

from odynn.errors import ModelError
from odynn.models.equations import Membrane
from odynn.models.kinetics import Values, broadcast
from odynn.models.model import BioNeuron


@dataclass(frozen=True)
class ClampedMembrane(Membrane):
    """A membrane whose stimulus is the command voltage (mV), constant over a step.

    The state vector ends with "I", the sum of the ionic currents, outward positive: what an amplifier
    records once the capacitive transient is over. Its unit is that of conductance times mV. The
    membrane's capacitance plays no part.
    """

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state variables in the order of the state vector, "I" last."""
        return (*super().states, "I")

    def parts(
        self,
        state: tuple[Values, ...],
        stimulus: Values,
        P: Mapping[str, Values],
        dt: float,
        solver: str,
        nudge: Values | None,
        observed: Values | None,
    ) -> tuple[Callable[[tuple[Values, ...]], tuple[Values, ...]], ...]:
        """Return a step at a constant voltage in parts: voltage and gates, then the current.

        Args:
            state: one value or array a state variable, all of one shape.
            stimulus: the command, mV, broadcastable to that shape.
            P: parameter name to values, broadcastable to that shape.
            dt: time step, ms.
            solver: not used. Gates that the voltage drives are exact; a concentration, and a gate that
                it drives, is first order in dt.
            nudge: not used: no gain pulls a voltage that is prescribed.
            observed: not used.

        Returns:
            Functions that together return the new state, in the order of ``states``; the current is that
            at the end of the step, still at the voltage of the step.
        """
        old = dict(zip(self.states, state, strict=True))

        def gates(_: tuple[Values, ...]) -> tuple[Values, ...]:
            V = broadcast(stimulus, old["V"])
            return (V, *self._follow(V, old, P, dt, "exponential_euler"))

        def current(new: tuple[Values, ...]) -> tuple[Values, ...]:
            return (self._current(new, P),)

        return gates, current

    def steady_state(self, V: Values, P: Mapping[str, Values]) -> tuple[Values, ...]:
        """Return the state after long at the voltage V (mV)."""
        state = unclamped(self).steady_state(V, P)
        return (*state, self._current(state, P))

    def _current(self, state: tuple[Values, ...], P: Mapping[str, Values]) -> Values:
        named = dict(zip(self.states[:-1], state, strict=True))
        return sum(self.ionic_currents(named, P).values())


def unclamped(membrane: Membrane) -> Membrane:
    """Return the same gates, currents and concentrations with a voltage of their own."""
    return Membrane(**{field.name: getattr(membrane, field.name) for field in fields(Membrane)})


@lru_cache(maxsize=64)
def clamped(model: type[BioNeuron]) -> type[BioNeuron]:
    """Return a model in voltage clamp: its stimulus is a voltage in mV, and it has the state "I".

    Args:
        model: a declared model.

    Returns:
        A class with the same parameters, once for each model; a clamped one as it is.

    Raises:
        ModelError: if the model does not declare what its currents are.

    >>> from odynn.models import load_model
    >>> clamped(load_model("leaky")).states
    ('V', 'I')
    """
    membrane = model.membrane
    if isinstance(membrane, ClampedMembrane):
        return model
    if membrane is None or model.step is not BioNeuron.step:
        raise ModelError(
            f"model: {model.__name__} has a step of its own, and voltage clamp needs the currents of a "
            "declared membrane. Write `membrane = Membrane(...)` in the class, as "
            "odynn/models/template.py shows."
        )
    start = float(model.default_init_state[model.V_pos])
    own = {field.name: getattr(membrane, field.name) for field in fields(Membrane)}
    return type(
        model.__name__,
        (model,),
        {
            "__doc__": model.__doc__,
            "__module__": model.__module__,
            "membrane": ClampedMembrane(**own),
            "initial_voltage": start,
            "spiking": False,
        },
    )


def model_under(model: type[BioNeuron], clamp: str) -> type[BioNeuron]:
    """Return a model as a recording has it: clamped where ``clamp`` is "voltage", else as it is."""
    return clamped(model) if clamp == "voltage" else model
