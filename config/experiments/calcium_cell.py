"""The cortical cell of the library with an L-type calcium current more."""

from dataclasses import replace

from odynn.data import Parameter
from odynn.models.equations import Current, Gate
from odynn.models.kinetics import exp, linoid, rates, sigmoid
from odynn.models.pospischil import Pospischil


class CalciumCell(Pospischil):
    """Sodium, delayed rectifier, M current, leak, and high-threshold calcium (L-type).

    M. Pospischil et al., Biol. Cybern. 99 (2008) 427–441, doi:10.1007/s00422-008-0263-8, with the
    calcium current of I. Reuveni et al., J. Neurosci. 13 (1993) 4609–4621.
    """

    parameters = (
        *Pospischil.parameters,
        Parameter(
            "g_CaL", 0.01, "mS/cm²", (0.0, 5.0), (0.0, 0.5), meaning="largest conductance, L-type calcium"
        ),
        Parameter(
            "E_Ca", 120.0, "mV", (50.0, 200.0), (100.0, 150.0), meaning="reversal potential of calcium"
        ),
    )
    membrane = replace(
        Pospischil.membrane,
        gates={
            **Pospischil.membrane.gates,
            "q": Gate(
                rates(
                    lambda V, P: 0.209 * linoid((V + 27.0) / 3.8),
                    lambda V, P: 0.94 * exp(-(V + 75.0) / 17.0),
                )
            ),
            "r": Gate(
                rates(
                    lambda V, P: 0.000457 * exp(-(V + 13.0) / 50.0),
                    lambda V, P: 0.0065 * sigmoid((V + 15.0) / 28.0),
                )
            ),
        },
        currents={**Pospischil.membrane.currents, "CaL": Current("g_CaL", "E_Ca", {"q": 2, "r": 1})},
    )
