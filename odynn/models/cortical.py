"""A spiking neuron whose kinetics are all parameters, to be fitted to a cell of unknown channels."""

from odynn.data import Parameter
from odynn.models.equations import Current, Gate, Membrane
from odynn.models.kinetics import boltzmann, exp, sigmoid
from odynn.models.model import BioNeuron


def _bell(gate, least):
    """Kinetics whose time constant is a bell around the midpoint, in the thermodynamic form.

    With z = (V - mdp) / scale: the steady state is 1 / (1 + exp(-z)), the time constant
    least + tau / cosh(z / 2), ``least`` in ms: opening and closing rates exp(±z / 2) / (2 tau), as of a
    barrier in the middle of the field. A. Destexhe and J. R. Huguenard, J. Comput. Neurosci. 9 (2000)
    259–270, doi:10.1023/A:1026535704537.
    """

    def kinetics(V, P):
        z = (V - P[f"{gate}__mdp"]) / P[f"{gate}__scale"]
        decayed = exp(-0.5 * abs(z))  # 1 / cosh(z / 2) in a form that cannot overflow
        return sigmoid(z), least + P[f"{gate}__tau"] * 2.0 * decayed / (1.0 + decayed * decayed)

    return kinetics


def _gate(name, what, mdp, scale, tau):
    """Return the three rows of a gate: starts within 12 mV, a factor 1.6 and a factor 3 of the default."""
    steep = (1.0, 40.0) if scale > 0 else (-40.0, -1.0)
    scales = tuple(sorted((scale / 1.6, scale * 1.6)))
    return (
        Parameter(
            f"{name}__mdp", mdp, "mV", (mdp - 40.0, mdp + 40.0), (mdp - 12.0, mdp + 12.0),
            meaning=f"midpoint of {what}",
        ),
        Parameter(f"{name}__scale", scale, "mV", steep, scales, meaning=f"scale of {what}"),
        Parameter(
            f"{name}__tau", tau, "ms", (tau / 50.0, tau * 50.0), (tau / 3.0, tau * 3.0), "log",
            f"largest time constant of {what}",
        ),
    )  # fmt: skip


def _conductance(name, default, what, most, start):
    return Parameter(name, default, "mS/cm²", (most * 1e-6, most), start, "log", f"largest {what}")


class CorticalNeuron(BioNeuron):
    """Spiking cell with sodium, delayed rectifier, M, afterhyperpolarisation, H and leak currents.

    I_Na = g_Na m³ h (V - E_Na), I_Kd = g_Kd n² (V - E_K), I_M = g_M p (V - E_K),
    I_AHP = g_AHP w (V - E_K), I_H = g_H q (V - E_H), I_L = g_L (V - E_L). The gate w has a constant time
    constant and opens in spikes alone: a slow potassium current that counts them.

    Where a published model has the rates of one cell, here midpoint, scale and time constant of every
    gate are free, because the channels of a recorded cell are not known. Defaults are round numbers in the
    range of published models of cortical cells (collected in ICGenealogy, W. F. Podlaski et al., eLife 6
    (2017) e22152, doi:10.7554/eLife.22152), starts lie widely around them. The cell is one
    compartment: what its dendrites do is not in it.
    """

    parameters = (
        Parameter("C_m", 1.0, "µF/cm²", (0.1, 10.0), (0.5, 2.0), "log", "membrane capacitance"),
        _conductance("g_Na", 60.0, "sodium conductance", 1000.0, (20.0, 200.0)),
        _conductance("g_Kd", 10.0, "conductance of the delayed rectifier", 300.0, (2.0, 50.0)),
        _conductance("g_M", 0.1, "conductance of the M current", 10.0, (0.005, 1.0)),
        _conductance("g_AHP", 0.1, "conductance of the afterhyperpolarisation", 10.0, (0.005, 1.0)),
        _conductance("g_H", 0.02, "conductance of the H current", 2.0, (0.001, 0.1)),
        _conductance("g_L", 0.05, "leak conductance", 2.0, (0.01, 0.2)),
        Parameter("E_Na", 60.0, "mV", (30.0, 100.0), (50.0, 70.0), meaning="reversal potential of sodium"),
        Parameter(
            "E_K", -85.0, "mV", (-120.0, -60.0), (-95.0, -75.0), meaning="reversal potential of potassium"
        ),
        Parameter(
            "E_H", -40.0, "mV", (-60.0, -20.0), (-45.0, -35.0), meaning="reversal potential of the H current"
        ),
        Parameter(
            "E_L", -65.0, "mV", (-100.0, -40.0), (-80.0, -55.0), meaning="reversal potential of the leak"
        ),
        *_gate("m", "m, activation of I_Na", -32.0, 6.0, 0.15),
        *_gate("h", "h, inactivation of I_Na", -50.0, -7.0, 3.0),
        *_gate("n", "n, activation of I_Kd", -15.0, 9.0, 3.0),
        *_gate("p", "p, activation of I_M", -40.0, 8.0, 60.0),
        *_gate("w", "w, activation of I_AHP", -5.0, 5.0, 150.0),
        *_gate("q", "q, activation of I_H", -85.0, -8.0, 100.0),
    )
    membrane = Membrane(
        gates={
            "m": Gate(_bell("m", least=0.02)),
            "h": Gate(_bell("h", least=0.1)),
            "n": Gate(_bell("n", least=0.2)),
            "p": Gate(_bell("p", least=1.0)),
            "w": Gate(boltzmann("w")),
            "q": Gate(_bell("q", least=1.0)),
        },
        currents={
            "Na": Current("g_Na", "E_Na", {"m": 3, "h": 1}),
            "Kd": Current("g_Kd", "E_K", {"n": 2}),
            "M": Current("g_M", "E_K", {"p": 1}),
            "AHP": Current("g_AHP", "E_K", {"w": 1}),
            "H": Current("g_H", "E_H", {"q": 1}),
            "L": Current("g_L", "E_L"),
        },
    )
    initial_voltage = -65.0
    spiking = True
