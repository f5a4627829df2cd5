"""What is fitted, and in which stages, where an experiment does not say: by the kind of model and of target.

A model equals a synthetic target for some parameters, and there the voltage itself leads to them. No
model equals a recorded cell. Where that spikes, least squares of the voltage end in silence: a spike at
the wrong time is two errors, a missing one is one. So recordings of spiking cells are fitted by what the
voltage does below the onset of spikes, and by counting these.
"""

# The gain falls about fivefold a stage; a stage need not converge, it only hands its point on.
_GRADED = [{"method": "levenberg_marquardt", "iterations": 100}]
_SPIKING = [
    *({"method": "levenberg_marquardt", "nudge": gain, "iterations": 15} for gain in (20.0, 4.0, 0.8)),
    {"method": "levenberg_marquardt", "iterations": 40},
]

_PLAIN = {"V": 1.0}
_SPIKES = [
    {"kind": "squared_error", "state": "V", "weight": 1.0, "below": "onset"},
    {"kind": "filtered_spikes", "weight": 300.0},
]
# While the gain holds the simulated voltage to the recording, spikes are in place and their shape counts.
_SHAPES = [
    {"kind": "squared_error", "state": "V", "weight": 1.0},
    {"kind": "filtered_spikes", "weight": 10.0},
]
_ROUGH, _FINE = (5.0, 2.0), (0.5, 0.1)


def default_loss(spiking: bool, recorded: bool) -> dict | list[dict]:
    """Return the loss of an experiment that gives none.

    Args:
        spiking: whether the model fires spikes.
        recorded: whether the target is a recording.
    """
    return [dict(term) for term in _SPIKES] if spiking and recorded else dict(_PLAIN)


def default_stages(spiking: bool, recorded: bool = False, pool: int = 1) -> list[dict]:
    """Return the stages of a fit that gives none.

    Graded: least squares. Spiking: the same with a nudging gain that falls to zero. A recording of
    spikes: nudged until the model spikes about as often by itself, then a random search, since from
    there a gradient says little of spikes that are not there yet, and least squares to finish.

    Args:
        spiking: whether the model fires spikes.
        recorded: whether the target is a recording.
        pool: size of a pool; of a larger one than 1, a quarter of the starts go on to the search.
    """
    if not (spiking and recorded):
        return [dict(stage) for stage in (_SPIKING if spiking else _GRADED)]
    nudged = [
        {"method": "levenberg_marquardt", "nudge": gain, "iterations": 12}
        | ({"loss": [dict(term) for term in _SHAPES]} if gain in _ROUGH else {})
        for gain in (*_ROUGH, *_FINE)
    ]
    search = {"method": "cma_es", "iterations": 250, "population": 24, "sigma": 0.1}
    kept = {"keep": max(1, pool // 4)} if pool > 1 else {}
    return [*nudged, search | kept, {"method": "levenberg_marquardt", "iterations": 20}]
