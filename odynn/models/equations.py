"""A declared membrane: gates, currents and concentrations, and the step that follows from them.

The equation is C_m dV/dt = I_stim - sum of g (V - E), outward currents positive, with gates
dx/dt = (x_inf - x) / tau and concentrations dc/dt = -rate I - c / decay. Both solvers are first
order in dt. Nudging, C_m dV/dt = … + K C_m (V_obs - V), is one more conductance K C_m with the
reversal potential V_obs, so both solvers take it exactly; without it the run is free.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from odynn.models.kinetics import Kinetics, Values, constant, exp, power, where

SOLVERS = ("implicit_euler", "exponential_euler")

_BISECTIONS = 30


@dataclass(frozen=True)
class Gate:
    """A gating variable.

    Attributes:
        kinetics: function (x, P) to (steady state, time constant in ms), where x is the variable
            that drives the gate and P maps parameter names to values.
        driver: "V", or the name of a concentration.
    """

    kinetics: Kinetics
    driver: str = "V"


@dataclass(frozen=True)
class Current:
    """An ionic current I = g · (product of gates to their powers) · factor · (V - E).

    Attributes:
        conductance: name of the parameter g, mS/cm²; or µS, in a model of a whole cell.
        reversal: name of the parameter E, mV.
        gates: gate name to its power.
        factor: function (states by name, P) to a dimensionless factor, for what gates cannot say,
            such as an instantaneous inactivation by calcium.
    """

    conductance: str
    reversal: str
    gates: Mapping[str, int] = field(default_factory=dict)
    factor: Callable[[Mapping[str, Values], Mapping[str, Values]], Values] | None = None

    def density(self, states: Mapping[str, Values], P: Mapping[str, Values]) -> Values:
        """Return the open conductance in mS/cm²."""
        open_conductance = P[self.conductance]
        for gate, exponent in self.gates.items():
            open_conductance = open_conductance * power(states[gate], exponent)
        if self.factor is not None:
            open_conductance = open_conductance * self.factor(states, P)
        return open_conductance


@dataclass(frozen=True)
class Concentration:
    """An ion concentration fed by one current: dc/dt = -rate · I - c / decay.

    Attributes:
        current: name of the current that carries the ion.
        rate: name of the parameter that converts current to concentration per ms.
        decay: name of the parameter with the time constant of removal, ms.
        unit: unit of the concentration.
    """

    current: str
    rate: str
    decay: str
    unit: str = "a.u."


@dataclass(frozen=True)
class Membrane:
    """Everything that a declared model consists of, apart from its parameter table.

    Attributes:
        gates: gate name to Gate, in the order of the state vector.
        currents: current name to Current.
        concentrations: ion name to Concentration, in the order of the state vector.
        capacitance: name of the parameter C_m, µF/cm².
    """

    currents: Mapping[str, Current]
    gates: Mapping[str, Gate] = field(default_factory=dict)
    concentrations: Mapping[str, Concentration] = field(default_factory=dict)
    capacitance: str = "C_m"

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the state variables in the order of the state vector."""
        return ("V", *self.gates, *self.concentrations)

    def advance(
        self,
        state: tuple[Values, ...],
        stimulus: Values,
        P: Mapping[str, Values],
        dt: float,
        *,
        solver: str = "implicit_euler",
        nudge: Values | None = None,
        observed: Values | None = None,
    ) -> tuple[Values, ...]:
        """Advance the state by one step.

        Args:
            state: one value or array a state variable, all of one shape.
            stimulus: µA/cm², broadcastable to that shape.
            P: parameter name to values, broadcastable to that shape.
            dt: time step, ms.
            solver: "implicit_euler" (V by backward Euler with the old gates, then each gate by
                backward Euler with the new V) or "exponential_euler" (the same order, each by its
                exact solution with the others held).
            nudge: gain K in 1/ms that pulls V to ``observed``; None for the free run.
            observed: mV, broadcastable to the shape of the state; needed with ``nudge``.

        Returns:
            The new state, in the order of ``states``.
        """
        new: tuple[Values, ...] = ()
        for part in self.parts(state, stimulus, P, dt, solver, nudge, observed):
            new += part(new)
        return new

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
        """Return the step in parts: the voltage, then all that follows it.

        Each part is a function of the new values so far, which ends the chain of derivatives: a gate
        depends on the new voltage and on itself, while in terms of the old state it depends on everything.

        Args:
            state: see ``advance``, as for all others.
            stimulus: µA/cm².
            P: parameter name to values.
            dt: ms.
            solver: one of ``SOLVERS``.
            nudge: 1/ms or None.
            observed: mV, or None.

        Returns:
            Functions that together return the new state, in the order of ``states``.
        """
        old = dict(zip(self.states, state, strict=True))

        def voltage(_: tuple[Values, ...]) -> tuple[Values, ...]:
            return (self._voltage(old, stimulus, P, dt, solver, nudge, observed),)

        def followers(new: tuple[Values, ...]) -> tuple[Values, ...]:
            return tuple(self._follow(new[0], old, P, dt, solver))

        return voltage, followers

    def _voltage(
        self,
        old: Mapping[str, Values],
        stimulus: Values,
        P: Mapping[str, Values],
        dt: float,
        solver: str,
        nudge: Values | None,
        observed: Values | None,
    ) -> Values:
        """Return the voltage after a step."""
        capacitance = P[self.capacitance]
        open_conductances = {name: current.density(old, P) for name, current in self.currents.items()}
        conductance = sum(open_conductances.values())
        drive = stimulus + sum(g * P[self.currents[name].reversal] for name, g in open_conductances.items())
        if nudge is not None:
            conductance = conductance + nudge * capacitance
            drive = drive + nudge * capacitance * observed
        if solver == "implicit_euler":
            inertia = capacitance / dt
            return (inertia * old["V"] + drive) / (inertia + conductance)
        rest = drive / conductance
        return rest + (old["V"] - rest) * exp(-dt * conductance / capacitance)

    def _follow(
        self,
        V: Values,
        old: Mapping[str, Values],
        P: Mapping[str, Values],
        dt: float,
        solver: str,
    ) -> list[Values]:
        """Return gates and concentrations after a step that ends with the voltage V."""
        new = []
        for name, gate in self.gates.items():
            driver = V if gate.driver == "V" else old[gate.driver]
            steady, tau = gate.kinetics(driver, P)
            if solver == "implicit_euler":
                new.append((tau * old[name] + dt * steady) / (tau + dt))
            else:
                new.append(steady + (old[name] - steady) * exp(-dt / tau))
        for name, ion in self.concentrations.items():
            current = self.currents[ion.current]
            inflow = -P[ion.rate] * current.density(old, P) * (V - P[current.reversal])
            decay = P[ion.decay]
            if solver == "implicit_euler":
                new.append((old[name] + dt * inflow) * (decay / (decay + dt)))
            else:
                steady = inflow * decay
                new.append(steady + (old[name] - steady) * exp(-dt / decay))
        return new

    def steady_state(self, V: Values, P: Mapping[str, Values]) -> tuple[Values, ...]:
        """Return the state with every gate and concentration at rest for the voltage V (mV).

        A concentration may inactivate the current that feeds it: its rest is the root of a decreasing
        function, between zero and what the current at zero concentration would sustain.
        """
        states = {"V": V} | {name: V * 0 for name in self.concentrations}
        self._rest_gates("V", states, P)
        for name in self.concentrations:
            states[name] = self._resting_concentration(name, states, P)
            self._rest_gates(name, states, P)
        return tuple(states[name] for name in self.states)

    def _rest_gates(self, driver: str, states: dict[str, Values], P: Mapping[str, Values]) -> None:
        for name, gate in self.gates.items():
            if gate.driver == driver:
                states[name] = gate.kinetics(states[driver], P)[0]

    def _resting_concentration(
        self, name: str, states: Mapping[str, Values], P: Mapping[str, Values]
    ) -> Values:
        ion = self.concentrations[name]
        current = self.currents[ion.current]

        def sustained(concentration):
            trial = {**states, name: concentration}
            self._rest_gates(name, trial, P)
            return (
                -P[ion.rate] * P[ion.decay] * current.density(trial, P) * (states["V"] - P[current.reversal])
            )

        most = constant(sustained(states["V"] * 0))
        low, high = most * 0, most
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = (constant(sustained(middle)) - middle) * most > 0
            low, high = where(below, middle, low), where(below, high, middle)
        # The bisection has no derivative; one step of Newton's method from its end has the right one.
        root = (low + high) / 2
        apart = abs(root) * 1e-4 + 1e-6
        slope = constant((sustained(root + apart) - sustained(root)) / apart) - 1.0
        return root - (sustained(root) - root) / where(slope < -0.1, slope, -1.0)

    def ionic_currents(self, states: Mapping[str, Values], P: Mapping[str, Values]) -> dict[str, Values]:
        """Return each current in µA/cm², outward positive, from state traces by name."""
        return {
            name: current.density(states, P) * (states["V"] - P[current.reversal])
            for name, current in self.currents.items()
        }

    def time_constants(self, P: Mapping[str, float], V: np.ndarray) -> dict[str, float]:
        """Return the shortest time constant (ms) of each gate driven by V, over the voltages given."""
        return {
            name: float(np.min(gate.kinetics(V, P)[1]))
            for name, gate in self.gates.items()
            if gate.driver == "V"
        }
