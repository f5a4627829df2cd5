"""A small Hodgkin-Huxley model: a leak and one inactivating current."""

import numpy as np

from odynn.data import Parameter
from odynn.models.equations import Current, Gate, Membrane
from odynn.models.kinetics import boltzmann
from odynn.models.model import BioNeuron


class HodgHuxSimple(BioNeuron):
    """Leak and I_K = g_K a³ b (V - E_K), with sigmoid gates a (opens) and b (closes)."""

    parameters = (
        Parameter("C_m", 1.0, "µF/cm²", (0.5, 40.0), meaning="membrane capacitance"),
        Parameter("g_L", 0.1, "mS/cm²", (1e-9, 10.0), (1e-5, 10.0), "log", "leak conductance"),
        Parameter("g_K", 0.5, "mS/cm²", (1e-9, 10.0), (1e-5, 10.0), "log", "largest conductance of I_K"),
        Parameter(
            "E_L", -60.0, "mV", (-120.0, 0.0), (-70.0, -45.0), meaning="reversal potential of the leak"
        ),
        Parameter("E_K", 30.0, "mV", (-120.0, 100.0), (-40.0, 30.0), meaning="reversal potential of I_K"),
        Parameter(
            "a__mdp", -30.0, "mV", (-100.0, 100.0), (-50.0, 0.0), meaning="midpoint of the opening gate a"
        ),
        Parameter("a__scale", 20.0, "mV", (1.0, 200.0), meaning="scale of the opening gate a"),
        Parameter("a__tau", 500.0, "ms", (1.0, 1000.0), meaning="time constant of the opening gate a"),
        Parameter(
            "b__mdp", -5.0, "mV", (-100.0, 100.0), (-30.0, 20.0), meaning="midpoint of the closing gate b"
        ),
        Parameter("b__scale", -3.0, "mV", (-200.0, -1.0), meaning="scale of the closing gate b"),
        Parameter("b__tau", 30.0, "ms", (1.0, 1000.0), meaning="time constant of the closing gate b"),
    )
    membrane = Membrane(
        gates={"a": Gate(boltzmann("a")), "b": Gate(boltzmann("b"))},
        currents={"K": Current("g_K", "E_K", {"a": 3, "b": 1}), "L": Current("g_L", "E_L")},
    )
    default_init_state = np.array([-60.0, 0.0, 1.0])
