"""Make hh_neuron.csv: the squid axon of NEURON, as a reference for HodgkinHuxley.

Needs NEURON, which odynn does not: ``pip install neuron``, then ``python make_hh_neuron.py``. One
compartment with NEURON's own ``hh`` mechanism at 6.3 °C, its rate tables off, solved by CVODE with an
absolute tolerance of 1e-10 so that the file holds the solution itself, not that of some step size.
"""

import math
from pathlib import Path

AREA = 1e4  # µm²; a density of 1 µA/cm² is then 0.1 nA
DENSITY = 10.0  # µA/cm²
FROM, TO, END = 5.0, 45.0, 60.0  # ms
EVERY = 0.25  # ms between the rows of the file


def main():
    import neuron
    from neuron import h

    h.load_file("stdrun.hoc")
    soma = h.Section(name="soma")
    soma.L = soma.diam = math.sqrt(AREA / math.pi)
    soma.nseg, soma.cm = 1, 1.0
    soma.insert("hh")
    soma.ena, soma.ek = 50.0, -77.0
    segment = soma(0.5)
    segment.hh.gnabar, segment.hh.gkbar, segment.hh.gl, segment.hh.el = 0.12, 0.036, 0.0003, -54.387
    h.celsius = 6.3
    h.usetable_hh = 0

    electrode = h.IClamp(segment)
    electrode.delay, electrode.dur = FROM, TO - FROM
    electrode.amp = DENSITY * segment.area() * 1e-2 * 1e-3  # µA/cm² · µm² is 1e-2 pA

    solver = h.CVode()
    solver.active(True)
    solver.atol(1e-10)
    solver.condition_order(2)  # spike times by interpolation within the step
    crossing = h.NetCon(segment._ref_v, None, sec=soma)
    crossing.threshold = 0.0
    spikes = h.Vector()
    crossing.record(spikes)
    times = h.Vector([EVERY * k for k in range(1, round(END / EVERY) + 1)])
    traces = [h.Vector() for _ in range(4)]
    variables = (segment._ref_v, segment.hh._ref_m, segment.hh._ref_h, segment.hh._ref_n)
    for trace, variable in zip(traces, variables, strict=True):
        trace.record(variable, times)
    h.finitialize(-65.0)
    h.continuerun(END + 1.0)  # past the last row, which would else be missing

    lines = [
        f"# NEURON {neuron.__version__}, hh at 6.3 degC, CVODE atol 1e-10, made by make_hh_neuron.py",
        f"# stimulus: {DENSITY} uA/cm2 from {FROM} to {TO} ms; V = -65 mV and gates at rest at time 0",
        "# upward crossings of 0 mV (ms): " + " ".join(f"{time:.6f}" for time in spikes),
        "time_ms,V_mV,m,h,n",
    ]
    rows = zip(times, *traces, strict=True)
    lines += [f"{time:.2f},{V:.6f},{m:.8f},{h_:.8f},{n:.8f}" for time, V, m, h_, n in rows]
    Path(__file__).with_name("hh_neuron.csv").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
