"""Which ways of fitting a recorded spiking cell lead to spikes where the recording has them?

One cell and 16 starts; for each way the start with the lowest loss of that way, run freely on the held-out
sweeps. Arguments are seeds.
"""

import sys

from protocol import runs, show
from spiking_recordings import HEADINGS, REACH, score

from odynn.fitting.schedules import default_loss, default_stages

TERMS = default_loss(spiking=True, recorded=True)
BELOW, _ = TERMS
*NUDGED, SEARCH, POLISH = default_stages(spiking=True, recorded=True, pool=16)
# Nudged by the default loss, whatever the search then minimises: a term per sweep has no derivatives.
APPROACH = [{**stage, "loss": stage.get("loss", TERMS)} for stage in NUDGED]
# Features take milliseconds a trace, a hundred times what the simulation does.
BRIEF = {**SEARCH, "population": 12, "iterations": 60}


def nudged(*gains: float) -> list[dict]:
    """Return least-squares stages with these gains."""
    return [{"method": "levenberg_marquardt", "nudge": gain, "iterations": 15} for gain in gains]


WAYS = {
    "voltage, gain to zero": ({"V": 1.0}, default_stages(spiking=True)),
    "voltage between spikes, gain to zero": (
        [{"kind": "squared_error", "state": "V", "around_spikes": [2.0, 5.0]}],
        nudged(5, 2, 0.5, 0.1, 0),
    ),
    "filtered spikes, gain to zero": (TERMS, [*NUDGED, *nudged(0.02, 0.005, 0.001, 0)]),
    "nudged, CMA-ES of features": (
        [BELOW, {"kind": "spike_features", "weight": 10.0}],
        [*APPROACH, BRIEF],
    ),
    "nudged, CMA-ES of spike times": (
        [BELOW, {"kind": "spike_times", "weight": 100.0}],
        [*APPROACH, SEARCH],
    ),
    "nudged, CMA-ES of filtered spikes, local (default)": (TERMS, [*NUDGED, SEARCH, POLISH]),
}


def main(seeds: list[int]) -> None:
    """Print one line a way and seed."""
    rows = []
    for way, (loss, stages) in WAYS.items():
        changes = {"loss": loss, "starts": {"number": 16}, "fit": {"stages": stages}}
        for run in runs("experiments/171116sh.yaml", seeds, **changes):
            rows.append([way, str(run.seed), *score(run)[0]])
    title = "171116sh, held-out sweeps, the start with the lowest training loss"
    show(title, ["way", *HEADINGS], rows, REACH)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1])
