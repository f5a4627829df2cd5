"""The hERG channel, which carries the rapid delayed rectifier of the heart."""

from odynn.data import Parameter
from odynn.models.equations import Current, Gate, Membrane
from odynn.models.kinetics import exp, log, sigmoid
from odynn.models.model import BioNeuron


def _gate(opening, closing, sign):
    """Return a gate that opens at the rate p exp(sign q V) and closes at p' exp(-sign q' V).

    Args:
        opening: names of the parameters p and q.
        closing: those of p' and q'.
        sign: 1 if depolarisation opens it, -1 if it closes it.
    """

    def kinetics(V, P):
        (p, q), (other_p, other_q) = ((P[name] for name in rate) for rate in (opening, closing))
        speed = p * exp(sign * q * V) + other_p * exp(-sign * other_q * V)
        # The ratio of the rates is that of a sigmoid, which cannot overflow as they can.
        return sigmoid(log(p / other_p) + sign * (q + other_q) * V), 1.0 / speed

    return Gate(kinetics)


def _prefactor(name, default, what):
    return Parameter(name, default, "1/ms", (1e-7, 1e3), (1e-5, 1.0), "log", f"{what} at 0 mV")


def _exponent(name, default, what):
    meaning = f"voltage dependence of {what}"
    return Parameter(name, default, "1/mV", (1e-7, 0.4), (5e-3, 0.2), "log", meaning)


class HERG(BioNeuron):
    """hERG potassium current of a whole cell: activation a and recovery from inactivation r.

    I_Kr = g_Kr a r (V - E_K), with two independent gates: a opens at the rate k1 = p1 exp(p2 V) and
    closes at k2 = p3 exp(-p4 V); inactivation is entered at k3 = p5 exp(p6 V) and left at
    k4 = p7 exp(-p8 V). K. A. Beattie et al., J. Physiol. 596 (2018) 1813–1828, doi:10.1113/JP275733,
    with its bounds; the defaults are its fit to cell 5. Conductances are those of the whole cell, so
    currents are in nA. The model is for voltage clamp, where the capacitance plays no part.
    """

    parameters = (
        Parameter("C_m", 0.1, "nF", (1e-3, 1.0), (0.1, 0.1), "log", "capacitance of the cell", free=False),
        Parameter("g_Kr", 0.152, "µS", (1e-4, 10.0), (0.01, 1.0), "log", "largest conductance of the cell"),
        Parameter(
            "E_K", -88.4, "mV", (-120.0, -60.0), (-88.4, -88.4), "linear",
            "reversal potential of potassium, from the solutions and the temperature", free=False,
        ),
        _prefactor("p1", 2.26e-4, "activation rate"),
        _exponent("p2", 0.0699, "activation"),
        _prefactor("p3", 3.45e-5, "deactivation rate"),
        _exponent("p4", 0.0546, "deactivation"),
        _prefactor("p5", 0.0873, "inactivation rate"),
        _exponent("p6", 8.91e-3, "inactivation"),
        _prefactor("p7", 5.15e-3, "rate of recovery from inactivation"),
        _exponent("p8", 0.0316, "recovery from inactivation"),
    )  # fmt: skip
    membrane = Membrane(
        gates={
            "a": _gate(("p1", "p2"), ("p3", "p4"), 1.0),
            "r": _gate(("p7", "p8"), ("p5", "p6"), -1.0),
        },
        currents={"Kr": Current("g_Kr", "E_K", {"a": 1, "r": 1})},
    )
    initial_voltage = -80.0
