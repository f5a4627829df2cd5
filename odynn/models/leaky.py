"""The leaky integrator: one membrane, one leak."""

import numpy as np

from odynn.data import Parameter
from odynn.models.equations import Current, Membrane
from odynn.models.model import BioNeuron


class LeakyIntegrate(BioNeuron):
    """Passive membrane, C_m dV/dt = I_stim - g_L (V - E_L)."""

    parameters = (
        Parameter("C_m", 1.0, "µF/cm²", (0.5, 40.0), meaning="membrane capacitance"),
        Parameter("g_L", 0.1, "mS/cm²", (1e-9, 10.0), (1e-5, 10.0), "log", "leak conductance"),
        Parameter(
            "E_L", -60.0, "mV", (-120.0, 0.0), (-70.0, -45.0), meaning="reversal potential of the leak"
        ),
    )
    membrane = Membrane(currents={"L": Current("g_L", "E_L")})
    default_init_state = np.array([-60.0])
