"""Conductances of a start from the recorded voltage, by linear regression.

With the gates driven by the recorded voltage instead of the simulated one, the equation of the
membrane, C_m dV/dt + sum of g a(t) (V - E) = I_stim, is linear in the conductances g and in C_m: they
follow from bounded least squares, without a simulation of the voltage.
Q. J. M. Huys, M. B. Ahrens and L. Paninski, J. Neurophysiol. 96 (2006) 872–890,
doi:10.1152/jn.00079.2006.

Each step of the solver gives one equation a sweep. They are averaged over windows before they are
solved: a window weighs both sides alike, so that they stay equal, while the noise of the voltage,
which dV/dt magnifies, averages out.
"""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import lsq_linear

from odynn.data import Parameter, Starts, Target
from odynn.errors import FitError, listed
from odynn.fitting.losses.weighting import bridged, counted
from odynn.models.equations import Membrane
from odynn.models.initial import initial_states
from odynn.models.model import BioNeuron

# The shortest window, in steps, and the longest, as a share of a sweep.
_SHORTEST, _LONGEST = 4, 0.05
# A window is wide enough when noise makes less than this share of the averaged slope of the voltage.
_NOISE = 0.1
# A change of the stimulus in one step by more than this share of its range is a jump, where recordings
# have artefacts. Windows with one are left out, unless fewer than half would be left.
_JUMP, _FEWEST = 0.1, 0.5
# Solutions keep this share of the range away from its ends, on the parameter's scale: from an end that is
# a bound a fit would hardly come back.
_EDGE = 1e-3
# A concentration depends on the conductance of its current: solved in turns, until all change by less.
_TURNS, _CHANGE = 6, 1e-3


def regressed_starts(model: type[BioNeuron], starts: Starts, target: Target, solver: str) -> Starts:
    """Return the starts with the conductances that fit the recorded voltage best.

    Free conductances are replaced, and for a graded model the capacitance if it is free; each stays
    within the range that it is drawn from, a little inside its ends. Everything else of a start stays
    as drawn: in a spiking model the capacitance too, since the stimulus is small beside the currents of
    a spike, and what noise and wrong kinetics make of the equations is least where all terms vanish.
    Each start is computed by itself. Samples that are missing or have the weight 0 in the target drive
    the gates by straight lines and give no equation; the others give theirs with their weight. What a
    loss passes over in windows of its own is not known here.

    Args:
        model: with a declared membrane.
        starts: as drawn.
        target: the training sweeps.
        solver: "implicit_euler" or "exponential_euler".

    Raises:
        FitError: if the target has no voltage.
    """
    if "V" not in target.observed:
        raise FitError(
            "starts.regression: needs the recorded voltage. Received: a target with "
            f"{listed(target.observed)} only. Set starts.regression to false, or give the voltage."
        )
    regression = _Regression(model, starts.parameters, target, solver)
    values = {name: column.copy() for name, column in starts.values.items()}
    for place in range(len(starts.ids)):
        drawn = {name: np.float64(column[place]) for name, column in starts.values.items()}
        for name, value in regression.solve(drawn).items():
            values[name][place] = value
    return Starts(starts.ids, values, starts.parameters)


def window_steps(V: np.ndarray) -> int:
    """Return how many steps a window has: the fewest that average the noise out of dV/dt.

    The noise is estimated from second differences, where a smooth trace leaves little else.

    Args:
        V: recorded voltage in mV, [time, sweep].
    """
    noise = np.median(np.abs(np.diff(V, n=2, axis=0))) / (0.6745 * np.sqrt(6.0))
    longest = max(_SHORTEST, int(_LONGEST * len(V)))
    steps = _SHORTEST
    while steps < longest:
        left = noise * np.sqrt(np.sum(np.diff(_weights(steps), prepend=0.0, append=0.0) ** 2))
        if left < _NOISE * np.sqrt(np.mean(_averaged(np.diff(V, axis=0), steps) ** 2)):
            break
        steps *= 2
    return min(steps, longest, len(V) - 1)


def _weights(steps: int) -> np.ndarray:
    """Return the weights of a window, which rise from its ends to its middle and add up to 1."""
    weights = np.sin(np.pi * (np.arange(steps) + 0.5) / steps) ** 2
    return weights / weights.sum()


def _averaged(trace: np.ndarray, steps: int) -> np.ndarray:
    """Return means of [time, sweep] over windows that overlap by half, [window, sweep]."""
    windows = np.lib.stride_tricks.sliding_window_view(trace, steps, axis=0)[:: max(1, steps // 2)]
    # Not a matrix product: its last bits would depend on the number of threads.
    return np.einsum("wsk,k->ws", windows, _weights(steps))


class _Regression:
    """The equations of one target, for any start."""

    def __init__(
        self, model: type[BioNeuron], parameters: Mapping[str, Parameter], target: Target, solver: str
    ):
        self.model, self.parameters, self.dt, self.solver = model, parameters, target.dt, solver
        self.membrane: Membrane = model.membrane
        self.capacitance_too = not model.spiking
        factors = any(current.factor is not None for current in self.membrane.currents.values())
        driven = any(gate.driver != "V" for gate in self.membrane.gates.values())
        self.ions_matter = bool(self.membrane.concentrations) and (factors or driven)
        V = np.asarray(counted(target).observed["V"], dtype=float)
        gone = np.isnan(V)
        self.V = bridged(V, gone)
        self.initial = np.atleast_1d(np.asarray(model.default_init_state, dtype=float))
        self.at_rest = target.initial is not None
        first = np.full(self.V.shape[1], self.initial[0])
        self.first = np.asarray(target.initial, dtype=float) if self.at_rest else first
        trace = np.concatenate([self.first[None], self.V])
        self.before = trace[:-1]
        # The voltage that the solver's currents see: the new one, or in a good approximation the mean.
        self.seen = self.V if solver == "implicit_euler" else (self.V + self.before) / 2
        self.steps = window_steps(trace)
        self.stimulus = _averaged(target.stimulus, self.steps)
        self.slope = _averaged(np.diff(trace, axis=0) / self.dt, self.steps)
        jumps = np.abs(np.diff(target.stimulus, axis=0, prepend=target.stimulus[:1]))
        spoilt = jumps > _JUMP * max(np.ptp(target.stimulus), np.finfo(float).tiny)
        # A step needs the voltage before it too.
        gone[1:] |= gone[:-1]
        known = _averaged(gone.astype(float), self.steps) == 0.0
        kept = known & (_averaged(spoilt.astype(float), self.steps) == 0.0)
        self.kept = kept if kept.sum() >= _FEWEST * known.sum() else known
        self.weights = None if target.weights is None else _averaged(target.weights, self.steps)[self.kept]

    def solve(self, drawn: Mapping[str, float]) -> dict[str, float]:
        """Return the conductances and the capacitance found, followers of a group included.

        Args:
            drawn: every parameter of the start.
        """
        P = dict(drawn)
        found: dict[str, float] = {}
        for _ in range(_TURNS if self.ions_matter else 1):
            columns, rest = self._equations(P)
            found = self._least_squares(columns, rest)
            settled = all(abs(value - P[name]) < _CHANGE * abs(value) for name, value in found.items())
            found |= {
                name: found[row.follows] for name, row in self.parameters.items() if row.follows in found
            }
            P |= found
            if settled:
                break
        return found

    def _equations(self, P: Mapping[str, float]) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return what each unknown is multiplied by, and what they should add up to, [window] each."""
        states = self._driven_states(P)
        terms = [(self.membrane.capacitance, self.slope)]
        for current in self.membrane.currents.values():
            share = current.density(states, {**P, current.conductance: 1.0})
            force = self.seen - P[current.reversal]
            terms.append(
                (current.conductance, _averaged(np.broadcast_to(share * force, self.V.shape), self.steps))
            )
        columns: dict[str, np.ndarray] = {}
        rest = self.stimulus[self.kept]
        for name, term in terms:
            leader = self.parameters[name].follows or name
            unknown = name != self.membrane.capacitance or self.capacitance_too
            if self.parameters[leader].free and unknown:
                columns[leader] = columns.get(leader, 0.0) + term[self.kept]
            else:
                rest = rest - P[name] * term[self.kept]
        if self.weights is not None:
            root = np.sqrt(self.weights)
            columns, rest = {name: column * root for name, column in columns.items()}, rest * root
        return columns, rest

    def _least_squares(self, columns: Mapping[str, np.ndarray], rest: np.ndarray) -> dict[str, float]:
        """Return the unknowns within their ranges; none where the equations are not finite."""
        bounds = {name: _inside(self.parameters[name]) for name in columns}
        for name, (lower, upper) in bounds.items():
            if lower == upper:
                rest = rest - lower * columns[name]
        names = [name for name, (lower, upper) in bounds.items() if lower < upper]
        A = np.array([columns[name] for name in names])
        if not names or not rest.size or not (np.isfinite(A).all() and np.isfinite(rest).all()):
            return {}
        # From the normal equations, by their spectrum: sums in a fixed order, and a few numbers to solve.
        size = np.sqrt(np.einsum("iw,iw->i", A, A))
        size[size == 0.0] = 1.0
        spectrum, basis = np.linalg.eigh(np.einsum("iw,jw->ij", A, A) / np.outer(size, size))
        clear = spectrum > 1e-12 * spectrum[-1]
        root = np.sqrt(spectrum[clear])
        right = basis[:, clear].T @ (np.einsum("iw,w->i", A, rest) / size) / root
        box = np.array([bounds[name] for name in names]).T
        solution = lsq_linear(root[:, None] * basis[:, clear].T, right, box * size, method="bvls").x / size
        return dict(zip(names, np.clip(solution, *box).tolist(), strict=True))

    def _driven_states(self, P: Mapping[str, float]) -> dict[str, np.ndarray]:
        """Return every state before each step, [time, sweep], with the recorded voltage as V."""
        membrane, shape = self.membrane, self.V.shape
        start = self.initial
        if self.at_rest:
            start = membrane.steady_state(self.first, P)
        start = [np.broadcast_to(value, shape[1:]) for value in start]
        for place, name in initial_states(self.model, P).items():
            start[place] = np.full(shape[1:], P[name])
        first = dict(zip(membrane.states, start, strict=True))
        states = {"V": self.before}
        for name, gate in membrane.gates.items():
            if gate.driver == "V":
                steady, tau = gate.kinetics(self.V, P)
                keep, add = self._decay(np.broadcast_to(tau, shape), steady)
                states[name] = _recursion(first[name], keep, np.broadcast_to(add, shape))
        if self.ions_matter:
            states |= self._driven_by_ions(states, first, P)
        return states

    def _decay(self, tau, steady):
        """Return the factor on a state in one step towards its steady state, and what is added."""
        keep = tau / (tau + self.dt) if self.solver == "implicit_euler" else np.exp(-self.dt / tau)
        return keep, (1.0 - keep) * steady

    def _driven_by_ions(
        self, states: Mapping[str, np.ndarray], first: Mapping[str, np.ndarray], P: Mapping[str, float]
    ) -> dict[str, np.ndarray]:
        """Return concentrations, and the gates that they drive, step by step: they depend on each other."""
        membrane = self.membrane
        names = [name for name in membrane.states if name not in states]
        now = {name: first[name] for name in names}
        traces = {name: np.empty(self.V.shape) for name in names}
        for t in range(len(self.V)):
            for name in names:
                traces[name][t] = now[name]
            old = {name: trace[t] for name, trace in states.items()} | now
            new = {}
            for name in names:
                if name in membrane.gates:
                    steady, tau = membrane.gates[name].kinetics(old[membrane.gates[name].driver], P)
                else:
                    ion = membrane.concentrations[name]
                    current, tau = membrane.currents[ion.current], P[ion.decay]
                    steady = -P[ion.rate] * current.density(old, P) * (self.V[t] - P[current.reversal]) * tau
                keep, add = self._decay(tau, steady)
                new[name] = keep * old[name] + add
            now = new
        return traces


def _inside(row: Parameter) -> tuple[float, float]:
    """Return the range of a parameter without its edges."""
    lower, upper = row.start
    if row.scale == "log":
        return lower * (upper / lower) ** _EDGE, upper * (lower / upper) ** _EDGE
    return lower + _EDGE * (upper - lower), upper - _EDGE * (upper - lower)


def _recursion(first: np.ndarray, keep: np.ndarray, add: np.ndarray) -> np.ndarray:
    """Return x before each step, [time, sweep], for x ← keep x + add from ``first`` [sweep]."""
    trace = np.empty(add.shape)
    x = first
    for t in range(len(add)):
        trace[t] = x
        x = keep[t] * x + add[t]
    return trace
