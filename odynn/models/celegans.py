"""The graded C. elegans neuron with calcium, the reference model of the library."""

import numpy as np

from odynn.data import Parameter
from odynn.models.equations import Concentration, Current, Gate, Membrane
from odynn.models.kinetics import boltzmann, sigmoid
from odynn.models.model import BioNeuron


def _gate(name, what, mdp, scale, tau, mdp_start=(-50.0, 50.0), tau_start=(1.0, 400.0)):
    """Return the three rows of a sigmoid gate, with the ranges its random starts are drawn from."""
    bounds, start = ((1.0, 200.0), (1.0, 50.0)) if scale > 0 else ((-200.0, -1.0), (-50.0, -1.0))
    return (
        Parameter(f"{name}__mdp", mdp, "mV", (-100.0, 100.0), mdp_start, meaning=f"midpoint of {what}"),
        Parameter(f"{name}__scale", scale, "mV", bounds, start, meaning=f"scale of {what}"),
        Parameter(f"{name}__tau", tau, "ms", (1.0, 2000.0), tau_start, "log", f"time constant of {what}"),
    )


def _inactivation(states, P):
    """Instantaneous inactivation of the calcium current by calcium."""
    steady = sigmoid((states["Ca"] - P["h__mdp"]) / P["h__scale"])
    return 1.0 + (steady - 1.0) * P["h__alpha"]


class CElegansNeuron(BioNeuron):
    """Two potassium currents, a calcium current inactivated by calcium, and a leak.

    I_Kf = g_Kf p⁴ q (V - E_K), I_Ks = g_Ks n (V - E_K), I_Ca = g_Ca e² f h (V - E_Ca),
    I_L = g_L (V - E_L), h = 1 + (h_inf(Ca) - 1) h__alpha, dCa/dt = -rho_ca I_Ca - Ca / decay_ca.
    Defaults are those of the original odynn library, from C. elegans recordings.
    """

    parameters = (
        Parameter("C_m", 20.0, "µF/cm²", (0.5, 100.0), (0.5, 40.0), "log", "membrane capacitance"),
        Parameter("g_Ca", 3.0, "mS/cm²", (1e-5, 20.0), (0.01, 20.0), "log", "largest conductance of I_Ca"),
        Parameter(
            "g_Ks", 10.0, "mS/cm²", (1e-5, 20.0), (0.01, 20.0), "log", "largest conductance of I_Ks (slow)"
        ),
        Parameter(
            "g_Kf", 0.07, "mS/cm²", (1e-5, 20.0), (0.01, 20.0), "log", "largest conductance of I_Kf (fast)"
        ),
        Parameter("g_L", 0.005, "mS/cm²", (1e-5, 10.0), (1e-4, 0.5), "log", "leak conductance"),
        Parameter("E_Ca", 20.0, "mV", (-10.0, 150.0), (0.0, 60.0), meaning="reversal potential of calcium"),
        Parameter(
            "E_K", -60.0, "mV", (-120.0, -30.0), (-90.0, -40.0), meaning="reversal potential of potassium"
        ),
        Parameter(
            "E_L", -60.0, "mV", (-100.0, 0.0), (-80.0, -40.0), meaning="reversal potential of the leak"
        ),
        Parameter(
            "decay_ca", 110.0, "ms", (0.1, 2000.0), (10.0, 500.0), "log", "time constant of calcium removal"
        ),
        Parameter(
            "rho_ca",
            0.23,
            "a.u.·cm²/(µA·ms)",
            (1e-5, 100.0),
            (1e-3, 10.0),
            "log",
            "calcium per calcium current",
        ),
        *_gate("p", "p, activation of I_Kf", -8.05, 7.43, 100.0),
        *_gate("q", "q, inactivation of I_Kf", -15.6, -9.97, 150.0),
        *_gate("n", "n, activation of I_Ks", 19.9, 15.9, 25.0, tau_start=(10.0, 1000.0)),
        *_gate(
            "e", "e, activation of I_Ca", -3.36, 6.75, 10.0, mdp_start=(-50.0, 30.0), tau_start=(1.0, 200.0)
        ),
        *_gate("f", "f, inactivation of I_Ca", 25.2, -5.03, 151.0),
        Parameter(
            "h__alpha", 0.282, "1", (0.0, 1.0), (0.1, 0.9), meaning="share of I_Ca that calcium inactivates"
        ),
        Parameter("h__mdp", 6.42, "a.u.", (0.0, 200.0), (1.0, 100.0), meaning="calcium of half inactivation"),
        Parameter(
            "h__scale", -1.0, "a.u.", (-200.0, -0.05), (-20.0, -0.5), meaning="scale of the inactivation"
        ),
    )
    membrane = Membrane(
        gates={gate: Gate(boltzmann(gate)) for gate in "pqnef"},
        currents={
            "Kf": Current("g_Kf", "E_K", {"p": 4, "q": 1}),
            "Ks": Current("g_Ks", "E_K", {"n": 1}),
            "Ca": Current("g_Ca", "E_Ca", {"e": 2, "f": 1}, factor=_inactivation),
            "L": Current("g_L", "E_L"),
        },
        concentrations={"Ca": Concentration("Ca", rate="rho_ca", decay="decay_ca")},
    )
    default_init_state = np.array([-60.0, 0.0, 0.95, 0.0, 0.0, 1.0, 1e-7])
