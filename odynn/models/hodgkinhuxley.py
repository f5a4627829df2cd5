"""The squid giant axon."""

from odynn.data import Parameter
from odynn.models.equations import Current, Gate, Membrane
from odynn.models.kinetics import exp, linoid, rates, sigmoid
from odynn.models.model import BioNeuron


class HodgkinHuxley(BioNeuron):
    """Sodium, delayed-rectifier potassium and leak of the squid axon at 6.3 °C, resting at -65 mV.

    I_Na = g_Na m³ h (V - E_Na), I_K = g_K n⁴ (V - E_K), I_L = g_L (V - E_L). The rates are those
    of Hodgkin and Huxley, J. Physiol. 117 (1952) 500–544, doi:10.1113/jphysiol.1952.sp004764,
    shifted to an absolute voltage; q10 = 3^((T - 6.3) / 10) speeds all of them up.
    """

    parameters = (
        Parameter("C_m", 1.0, "µF/cm²", (0.1, 10.0), (0.5, 2.0), "log", "membrane capacitance"),
        Parameter(
            "g_Na", 120.0, "mS/cm²", (1e-3, 1000.0), (10.0, 300.0), "log", "largest sodium conductance"
        ),
        Parameter("g_K", 36.0, "mS/cm²", (1e-3, 500.0), (3.0, 100.0), "log", "largest potassium conductance"),
        Parameter("g_L", 0.3, "mS/cm²", (1e-4, 10.0), (0.03, 3.0), "log", "leak conductance"),
        Parameter("E_Na", 50.0, "mV", (0.0, 100.0), (40.0, 60.0), meaning="reversal potential of sodium"),
        Parameter(
            "E_K", -77.0, "mV", (-120.0, -40.0), (-90.0, -65.0), meaning="reversal potential of potassium"
        ),
        Parameter(
            "E_L", -54.387, "mV", (-100.0, 0.0), (-75.0, -45.0), meaning="reversal potential of the leak"
        ),
        Parameter(
            "q10",
            1.0,
            "1",
            (0.1, 30.0),
            (1.0, 1.0),
            "log",
            "temperature factor 3^((T - 6.3) / 10)",
            free=False,
        ),
    )
    membrane = Membrane(
        gates={
            "m": Gate(
                rates(
                    lambda V, P: linoid((V + 40.0) / 10.0), lambda V, P: 4.0 * exp(-(V + 65.0) / 18.0), "q10"
                )
            ),
            "h": Gate(
                rates(
                    lambda V, P: 0.07 * exp(-(V + 65.0) / 20.0),
                    lambda V, P: sigmoid((V + 35.0) / 10.0),
                    "q10",
                )
            ),
            "n": Gate(
                rates(
                    lambda V, P: 0.1 * linoid((V + 55.0) / 10.0),
                    lambda V, P: 0.125 * exp(-(V + 65.0) / 80.0),
                    "q10",
                )
            ),
        },
        currents={
            "Na": Current("g_Na", "E_Na", {"m": 3, "h": 1}),
            "K": Current("g_K", "E_K", {"n": 4}),
            "L": Current("g_L", "E_L"),
        },
    )
    initial_voltage = -65.0
    spiking = True
