"""A block of configuration for a recording that was looked at, ready to paste."""

import json
import re
from collections.abc import Mapping

import numpy as np

from odynn.findings import Inspection

_SPIKING_STEP = 0.1
"""Time step (ms) for spikes, which last about a millisecond."""

_CLAMP_STEP = 0.1
"""Time step (ms) for a current in voltage clamp."""

_CALCIUM_STEP = 10.0
"""Time step (ms) for calcium alone, whose recordings last minutes."""

_STEPS_PER_TAU = 20
_STEP_RANGE = (0.1, 2.0)
_USUAL_STEP = 0.5
"""Time steps (ms) for graded voltages: a share of the time constant within this range; if unknown, the "
"last."""

_MOST_SWEEPS = 12
"""Sweeps that are fitted or held out; a first fit needs no more."""

_GUESSED_AREA = 1000.0
_COLUMN = 33


def suggest_config(found: Inspection, target: Mapping) -> str:
    """Return an experiment that fits a recording, as YAML with remarks.

    Args:
        found: what was found in it.
        target: keys of the block ``target`` that are settled: at least ``file``, and what was needed
            to read it.

    Returns:
        The text of a whole configuration file.
    """
    model, why_model = suggest_model(found)
    dt, why_dt = suggest_dt(found)
    train, test = suggest_split(found)
    lines = ["experiments:", f"  {_name(str(target['file']))}:"]
    lines.append(_line(f"    model: {model}", why_model))
    if found.spiking:
        lines.append(_line("    solver: exponential_euler", "the better one for spikes at this step"))
    lines.append(_line(f"    dt: {dt:.10g}", f"ms; {why_dt}"))
    lines.append("    target:")
    lines += [
        f"      {key}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in target.items()
        if value and key != "area"
    ]
    if found.recording.units["stimulus"] == "pA":
        area, why_area = suggest_area(found, target.get("area"))
        lines.append(_line(f"      area: {area:.10g}", f"µm²; {why_area}"))
    lines.append(f"      train: {train}")
    why_test = "held out, to test the fit" if test else "one sweep: nothing is held out to test the fit"
    lines.append(_line(f"      test: {test}", why_test))
    if found.response != "V":
        lines.append(f"    loss: {{{found.response}: 1.0}}")
    pools = "{number: 32, shard_size: 16, pool: 16}"
    lines.append(f"    starts: {pools if found.spiking else '{number: 64, shard_size: 32}'}")
    return "\n".join(lines) + "\n"


def _line(text: str, remark: str) -> str:
    return f"{text:<{_COLUMN}} # {remark}"


def _name(file: str) -> str:
    """Return a name for the experiment: that of the file, in letters that a folder may have."""
    stem = re.split(r"[\\/]", file)[-1].partition(".")[0]
    name = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_")[:60]
    # Digits alone would be a number to YAML.
    return name if re.match("[A-Za-z]", name) else f"cell_{name}".rstrip("_")


def suggest_model(found: Inspection) -> tuple[str, str]:
    """Return the name of a model that can do what the recording shows, and why."""
    others = "`odynn models` lists the others"
    if found.recording.clamp == "voltage":
        return "herg", f"a potassium channel of two gates, in voltage clamp; {others}"
    if found.response != "V":
        return "celegans", f"the one with calcium; {others}"
    if found.spiking:
        return "cortical", f"spiking, its channels unknown; {others}"
    slope = found.slope
    if slope is not None and np.ptp(slope.voltages) > 0 and slope.levels.size > 3:
        if np.corrcoef(slope.levels, slope.voltages)[0, 1] > 0.999:
            return "leaky", f"no spikes, and a straight I–V; {others}"
    return "celegans", f"graded, no spikes found; {others}"


def suggest_dt(found: Inspection) -> tuple[float, str]:
    """Return a time step (ms) that goes evenly with the samples, and why."""
    interval = float(f"{found.interval:.9g}")
    if found.recording.clamp == "voltage":
        wanted, why = max(interval, _CLAMP_STEP), "channels open within a millisecond"
    elif found.response != "V":
        wanted, why = _CALCIUM_STEP, "calcium is slow"
    elif found.spiking:
        wanted, why = _SPIKING_STEP, "spikes need short steps"
    elif found.relaxation:
        wanted = float(np.clip(found.relaxation.tau / _STEPS_PER_TAU, *_STEP_RANGE))
        why = f"the membrane takes {found.relaxation.tau:.3g} ms to relax"
    else:
        wanted, why = _USUAL_STEP, "usual for voltages without spikes"
    if wanted >= interval:
        dt = int(wanted / interval + 1e-6) * interval
    elif wanted > interval / 10:
        dt = interval / int(np.ceil(interval / wanted - 1e-6))
    else:
        dt = wanted
    return float(f"{dt:.6g}"), f"{why}. The recording has a sample every {interval:.6g} ms"


def suggest_area(found: Inspection, area: float | None) -> tuple[float, str]:
    """Return a membrane area (µm²) and how it was got."""
    if area is not None:
        return area, "as given"
    if found.area is not None:
        return (
            float(f"{found.area:.3g}"),
            f"from {found.capacitance:.3g} pF (time constant over resistance) at 1 µF/cm². Give a better one "
            "if known",
        )
    return _GUESSED_AREA, "A GUESS: the recording does not tell it. Give the cell's (10 pF make 1000 µm²)"


def suggest_split(found: Inspection) -> tuple[list[int], list[int]]:
    """Return the numbers of the sweeps to fit and of those to hold out.

    Sweeps with gaps are left out, and those beyond a dozen. In order of their stimulus, every other
    one is held out.
    """
    sweeps = [sweep for sweep in found.sweeps if sweep.finite] or list(found.sweeps)
    levels = [sweep.level for sweep in sweeps]
    if np.isfinite(levels).all():
        sweeps = [sweeps[place] for place in np.argsort(levels, kind="stable")]
    places = np.unique(np.linspace(0, len(sweeps) - 1, min(len(sweeps), _MOST_SWEEPS)).round().astype(int))
    numbers = [sweeps[place].number for place in places]
    # The strongest stimulus is fitted: nothing that is held out then lies beyond what was.
    train, test = numbers[::-1][::2], numbers[::-1][1::2]
    return sorted(train), sorted(test)
