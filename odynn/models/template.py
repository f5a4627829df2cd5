"""Two models to copy, one for each way of writing your own.

Copy this file, keep one of the classes, rename it and put in your equations. In the config say
``model: path/to/your_file.py:YourClass``; nothing needs to be installed or registered.

Voltages are in mV, times in ms, conductances in mS/cm², capacitances in µF/cm², currents in µA/cm²
with outward currents positive: C_m dV/dt = I_stim - sum of g (V - E).
"""

import numpy as np

from odynn.data import Parameter
from odynn.models.equations import Current, Gate, Membrane
from odynn.models.kinetics import exp, sigmoid, stack
from odynn.models.model import BioNeuron

# ---- The first way: declare the equations. ----------------------------------------------------------
# Both solvers, the nudged fit, the steady state to start from, random starts, the plotted currents and
# the checks of a config all follow from what is declared.


def opening(V, P):
    """Steady state and time constant (ms) of the potassium gate w.

    V is the voltage and P maps parameter names to values; both may be arrays or tensors, so compute
    with ``odynn.models.kinetics`` (exp, sigmoid, linoid, where) and not with numpy or math. A gate
    with a sigmoid steady state and a constant time constant needs no function: ``boltzmann("w")`` is
    that, with the parameters w__mdp, w__scale and w__tau.
    """
    speed = exp((V - P["w__mdp"]) / (4.0 * P["w__scale"]))
    return sigmoid((V - P["w__mdp"]) / P["w__scale"]), 2.0 / (P["phi"] * (speed + 1.0 / speed))


def instantaneous(states, P):
    """Open fraction of the calcium channels, which follows the voltage without delay."""
    return sigmoid((states["V"] - P["m__mdp"]) / P["m__scale"])


class MorrisLecar(BioNeuron):
    """The barnacle muscle fibre: an instantaneous calcium current, a slow potassium current, a leak.

    C. Morris and H. Lecar, Biophys. J. 35 (1981) 193–213, doi:10.1016/S0006-3495(81)84782-0.
    """

    # One row a parameter: name, default, unit, bounds that no fit leaves, and what random starts are
    # drawn from (left out: all of the bounds), on a linear or a log scale. Say what it means, with its
    # source. ``free=False`` holds it at its default unless a config frees it.
    parameters = (
        Parameter("C_m", 20.0, "µF/cm²", (1.0, 100.0), (5.0, 40.0), "log", "membrane capacitance"),
        Parameter("g_Ca", 4.4, "mS/cm²", (0.01, 50.0), (0.5, 20.0), "log", "largest calcium conductance"),
        Parameter("g_K", 8.0, "mS/cm²", (0.01, 50.0), (0.5, 20.0), "log", "largest potassium conductance"),
        Parameter("g_L", 2.0, "mS/cm²", (0.01, 50.0), (0.2, 10.0), "log", "leak conductance"),
        Parameter("E_Ca", 120.0, "mV", (0.0, 200.0), (80.0, 150.0), meaning="reversal of calcium"),
        Parameter("E_K", -84.0, "mV", (-120.0, -40.0), (-100.0, -70.0), meaning="reversal of potassium"),
        Parameter("E_L", -60.0, "mV", (-100.0, 0.0), (-80.0, -40.0), meaning="reversal of the leak"),
        Parameter("m__mdp", -1.2, "mV", (-50.0, 50.0), (-20.0, 20.0), meaning="midpoint of calcium opening"),
        Parameter("m__scale", 9.0, "mV", (1.0, 50.0), (4.0, 20.0), meaning="scale of calcium opening"),
        Parameter("w__mdp", 2.0, "mV", (-50.0, 50.0), (-20.0, 20.0), meaning="midpoint of the gate w"),
        Parameter("w__scale", 15.0, "mV", (1.0, 50.0), (5.0, 30.0), meaning="scale of the gate w"),
        Parameter("phi", 0.04, "1/ms", (1e-3, 1.0), (0.01, 0.2), "log", "largest speed of the gate w"),
    )
    # The state vector is V, then the gates, then the concentrations, in the order written here. A
    # calcium signal to fit is a concentration: `concentrations={"Ca": Concentration(...)}`, as in
    # odynn/models/celegans.py.
    membrane = Membrane(
        gates={"w": Gate(opening)},
        currents={
            # name: g · (gates to their powers) · factor · (V - E)
            "Ca": Current("g_Ca", "E_Ca", factor=instantaneous),
            "K": Current("g_K", "E_K", {"w": 1}),
            "L": Current("g_L", "E_L"),
        },
    )
    # Simulations start at rest at this voltage; `default_init_state = np.array([...])` gives the whole
    # state instead.
    initial_voltage = -60.0
    # A spiking model is by default fitted in stages, its voltage pulled to the recording at first.
    spiking = False


# ---- The second way: write the step yourself. -------------------------------------------------------
# Three things are enough: default_params, default_init_state and step. The parameters then have no
# unit and no meaning, and are bounded from a tenth of to ten times their default, on a log scale where
# that is positive (reversal potentials: 50 mV around it), unless `_constraints_dic` says otherwise. A
# table as above is better.


class ResonantMembrane(BioNeuron):
    """A leaky membrane with a slow recovery current w, which makes it resonate.

    C_m dV/dt = I_stim - g_L (V - E_L) - g_w w, tau_w dw/dt = V - E_L - w. M. J. E. Richardson et al.,
    J. Neurophysiol. 89 (2003) 2538–2554, doi:10.1152/jn.00955.2002.
    """

    default_params = {"C_m": 1.0, "g_L": 0.1, "E_L": -60.0, "g_w": 0.3, "tau_w": 30.0}
    default_init_state = np.array([-60.0, 0.0])  # the voltage first
    _constraints_dic = {"C_m": [0.5, 10.0], "tau_w": [1.0, 500.0]}

    def step(self, X, i):
        """Advance the state by one step of ``self.dt`` ms.

        X is [state, …], an array or a tensor, and i the stimulus in µA/cm²; return the new state in the
        shape of X. The parameters are in ``self._param``. Implicit formulas, as here, stay finite for
        parameters far from the right ones.
        """
        P, dt = self._param, self.dt
        V, w = X[0], X[1]
        inertia = P["C_m"] / dt
        V = (inertia * V + i + P["g_L"] * P["E_L"] - P["g_w"] * w) / (inertia + P["g_L"])
        w = (P["tau_w"] * w + dt * (V - P["E_L"])) / (P["tau_w"] + dt)
        return stack([V, w])
