"""Cortical and thalamic cells with a slow potassium current."""

from odynn.data import Parameter
from odynn.models.equations import Current, Gate, Membrane
from odynn.models.kinetics import exp, linoid, rates, sigmoid
from odynn.models.model import BioNeuron


def _slow_potassium(V, P):
    """Steady state and time constant (ms) of the M current's gate p."""
    shifted = (V + 35.0) / 20.0
    rise = exp(shifted)
    return sigmoid((V + 35.0) / 10.0), P["tau_max"] / (3.3 * rise + 1.0 / rise)


class Pospischil(BioNeuron):
    """Regular-spiking cortical cell: sodium, delayed rectifier, M current and leak.

    M. Pospischil et al., Biol. Cybern. 99 (2008) 427–441, doi:10.1007/s00422-008-0263-8; the rates
    depend on V - V_T. Set g_M to 0 by ``parameters.fixed`` for a fast-spiking cell.
    """

    parameters = (
        Parameter("C_m", 1.0, "µF/cm²", (0.1, 10.0), (0.5, 2.0), "log", "membrane capacitance"),
        Parameter("g_Na", 50.0, "mS/cm²", (1e-3, 500.0), (5.0, 150.0), "log", "largest sodium conductance"),
        Parameter(
            "g_Kd", 5.0, "mS/cm²", (1e-4, 200.0), (0.5, 30.0), "log", "largest delayed-rectifier conductance"
        ),
        Parameter(
            "g_M", 0.07, "mS/cm²", (0.0, 5.0), (0.0, 0.5), meaning="largest conductance of the M current"
        ),
        Parameter("g_L", 0.1, "mS/cm²", (1e-4, 5.0), (0.01, 0.5), "log", "leak conductance"),
        Parameter("E_Na", 50.0, "mV", (0.0, 100.0), (40.0, 60.0), meaning="reversal potential of sodium"),
        Parameter(
            "E_K", -90.0, "mV", (-130.0, -50.0), (-105.0, -75.0), meaning="reversal potential of potassium"
        ),
        Parameter(
            "E_L", -70.0, "mV", (-110.0, -30.0), (-85.0, -55.0), meaning="reversal potential of the leak"
        ),
        Parameter("V_T", -61.5, "mV", (-90.0, -30.0), (-70.0, -50.0), meaning="shift of the spike threshold"),
        Parameter(
            "tau_max", 1000.0, "ms", (10.0, 10000.0), (200.0, 3000.0), "log", "slowness of the M current"
        ),
    )
    membrane = Membrane(
        gates={
            "m": Gate(
                rates(
                    lambda V, P: 1.28 * linoid((V - P["V_T"] - 13.0) / 4.0),
                    lambda V, P: 1.4 * linoid(-(V - P["V_T"] - 40.0) / 5.0),
                )
            ),
            "h": Gate(
                rates(
                    lambda V, P: 0.128 * exp(-(V - P["V_T"] - 17.0) / 18.0),
                    lambda V, P: 4.0 * sigmoid((V - P["V_T"] - 40.0) / 5.0),
                )
            ),
            "n": Gate(
                rates(
                    lambda V, P: 0.16 * linoid((V - P["V_T"] - 15.0) / 5.0),
                    lambda V, P: 0.5 * exp(-(V - P["V_T"] - 10.0) / 40.0),
                )
            ),
            "p": Gate(_slow_potassium),
        },
        currents={
            "Na": Current("g_Na", "E_Na", {"m": 3, "h": 1}),
            "Kd": Current("g_Kd", "E_K", {"n": 4}),
            "M": Current("g_M", "E_K", {"p": 1}),
            "L": Current("g_L", "E_L"),
        },
    )
    initial_voltage = -70.0
    spiking = True
