"""What ``odynn inspect`` prints: the tables of what was found in a recording."""

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from odynn.errors import ConfigError, listed
from odynn.findings import Inspection, SweepFindings

_MOST_STEPS = 3
_MOST_SWEEPS = 100


class Table(NamedTuple):
    """A table of text."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def look(options: Namespace) -> tuple[Inspection, dict | None]:
    """Look at what the command names.

    Args:
        options: of the command line.

    Returns:
        What was found; and the keys of a target that read it, None where a configuration has them.

    Raises:
        OdynnError: the recording cannot be read, or the configuration has no such experiment.
    """
    from odynn import recordings

    if Path(options.file).suffix.lower() in (".yaml", ".yml"):
        return recordings.inspect_target(_find_target(options.file, options.experiment)), None
    given = {
        "format": None if options.format == "auto" else options.format,
        "columns": dict(options.columns or ()),
        "units": dict(options.units or ()),
        "interval": options.interval,
    }
    target = {"file": str(Path(options.file).resolve())} | {
        key: value for key, value in given.items() if value
    }
    target |= {"area": options.area} if options.area is not None else {}
    return recordings.inspect_target(target | {"file": options.file}), target


def _find_target(path: str, name: str | None) -> dict:
    """Return the block ``target`` of the experiment that is meant."""
    from odynn import config

    experiments = config.load(path, check_recordings=False).experiments
    targets = {key: entry["target"] for key, entry in experiments.items() if "file" in entry["target"]}
    if name is None and len(targets) == 1:
        (name,) = targets
    if name not in targets:
        raise ConfigError(
            f"{path}: expected one experiment with a recording as its target, chosen with --experiment. "
            f"Received: {name or 'none'}; there are {listed(targets) or 'none'}. Name one of them."
        )
    return targets[name]


def tables(found: Inspection) -> Iterator[Table]:
    """Yield the tables: the file, its channels, its sweeps, the membrane."""
    yield Table(("recording", ""), list(_file_rows(found)))
    yield Table(("channel", "unit", "least", "median", "largest"), list(_channel_rows(found)))
    yield _sweep_table(found)
    membrane = list(_membrane_rows(found))
    if membrane:
        yield Table(("membrane", "", ""), membrane)


def remarks(found: Inspection) -> str:
    """Return the remarks, one a line, errors first."""
    return "".join(f"{remark.weight.capitalize()}: {_sentence(remark.text)}\n" for remark in found.remarks)


def _sentence(text: str) -> str:
    return (
        text[0].upper() + text[1:] if text.startswith(("the ", "there ", "sweep", "steps ", "at ")) else text
    )


def _number(value: float, unit: str = "") -> str:
    if value is None or not np.isfinite(value):
        return "–"
    # Hundredths of a millivolt or of a picoampere at rest are noise.
    text = f"{value:.4g}" if abs(value) >= 0.05 else f"{value:.2g}"
    text = f"{float(text):.0f}" if 1e4 <= abs(value) < 1e7 else text
    return f"{text} {unit}".rstrip().replace("-", "−")


def _unit(unit: str) -> str:
    return {"uA/cm^2": "µA/cm²", "1": ""}.get(unit, unit)


def _file_rows(found: Inspection) -> Iterator[tuple[str, str]]:
    recording = found.recording
    source: Mapping[str, str] = recording.source
    file = source.get("file", "in memory")
    yield "file", file if len(file) <= 80 else f"{file[:79]}…"
    if "reader" in source:
        yield "read as", source["reader"]
    numbers = [sweep.number for sweep in found.sweeps]
    yield "sweeps", f"{len(numbers)}, numbered {min(numbers)} to {max(numbers)}" if len(numbers) > 1 else "1"
    rate = 1 / found.interval
    spelt = f"{rate:.4g} kHz" if rate >= 1 else f"{1000 * rate:.4g} Hz"
    yield "sampling", f"every {found.interval:.6g} ms ({spelt})"
    length = recording.time.size * found.interval
    duration = f"{length / 1000:.6g} s" if length >= 10_000 else f"{length:.6g} ms"
    yield "duration", f"{duration}, {recording.time.size} samples, from {recording.time[0]:.6g} ms"
    for key in ("columns left out", "datasets left out"):
        if key in source:
            yield key, source[key]


def _channel_rows(found: Inspection) -> Iterator[tuple[str, ...]]:
    for channel, values in found.ranges.items():
        unit = _unit(found.recording.units[channel])
        yield (channel, unit, *(_number(value) for value in values))


def _sweep_table(found: Inspection) -> Table:
    stimulus, response = (_unit(found.recording.units[key]) for key in ("stimulus", found.response))
    labels = found.recording.labels if len(set(found.recording.labels)) > 1 else ()
    headings = [
        "sweep",
        *(["label"] if labels else []),
        f"holding ({stimulus})",
        f"steps: ms, {stimulus}",
    ]
    headings += [_headed(name, response) for name in ("at rest", "late in step", "noise")]
    headings += ["spikes"] if found.response == "V" else []
    rows = []
    for place, sweep in enumerate(found.sweeps[:_MOST_SWEEPS]):
        label = [str(labels[place])] if labels else []
        if not sweep.finite:
            rows.append([str(sweep.number), *label, "has gaps", *[""] * (len(headings) - 2 - len(label))])
            continue
        row = [str(sweep.number), *label, _number(sweep.baseline), _steps(sweep)]
        row += [_number(sweep.rest), _number(sweep.plateau), _number(float(f"{sweep.noise:.2g}"))]
        row += [str(sweep.spikes.size)] if found.response == "V" else []
        rows.append(row)
    left = len(found.sweeps) - len(rows)
    if left:
        rows.append([f"{left} more", *[""] * (len(headings) - 1)])
    return Table(headings, rows)


def _headed(name: str, unit: str) -> str:
    return f"{name} ({unit})" if unit else name


def _steps(sweep: SweepFindings) -> str:
    steps = [f"{step.start:.6g}–{step.end:.6g}: {_number(step.level)}" for step in sweep.steps]
    text = "; ".join(steps[:_MOST_STEPS]) + (f" … ({len(steps)} in all)" if len(steps) > _MOST_STEPS else "")
    if sweep.constant < 0.9:
        return f"{text}; varying" if text else "varying"
    return text or "none"


def _membrane_rows(found: Inspection) -> Iterator[tuple[str, str, str]]:
    dense = found.recording.units["stimulus"] != "pA"
    unit = _unit(found.recording.units["stimulus"])
    if found.slope:
        scale, name = (1.0, "kΩ·cm²") if dense else (1000.0, "MΩ")
        value, error = found.slope.value * scale, found.slope.error * scale
        yield "input resistance", _with_error(value, error, name), _how_slope(found)
    if found.relaxation:
        fit = found.relaxation
        how = f"exponential after the step to {_number(fit.level, unit)} in {_sweeps(fit.sweeps)}"
        yield "time constant", _with_error(fit.tau, fit.error, "ms"), how
    if found.capacitance:
        yield (
            "capacitance",
            _number(found.capacitance, "µF/cm²" if dense else "pF"),
            "time constant / resistance",
        )
    if found.area:
        yield "membrane area", _number(found.area, "µm²"), "of that capacitance at 1 µF/cm²"
    if found.rheobase:
        silent, firing = found.rheobase
        how = "no smaller step" if np.isnan(silent) else f"none at {_number(silent, unit)}"
        yield "rheobase", f"≤ {_number(firing, unit)}", f"the smallest step with a spike; {how}"
    if found.response == "V":
        rest = [sweep.rest for sweep in found.sweeps if np.isfinite(sweep.rest)]
        if rest:
            yield "voltage at rest", _number(float(np.median(rest)), "mV"), "before the first step, median"
        if np.isfinite(found.drift):
            yield (
                "drift",
                _number(found.drift, "mV"),
                "of the voltage at rest, from the first sweep to the last",
            )
        if np.isfinite(found.sag):
            yield (
                "sag",
                f"{100 * found.sag:.2g} %",
                "of the largest hyperpolarisation, gone at the end of the step",
            )
    if found.response == "V" and np.isfinite(found.holding):
        yield "holding", _number(found.holding, unit), "stimulus outside the steps"


def _with_error(value: float, error: float, unit: str) -> str:
    """Spell a value with as many digits as its error, which has two, leaves it.

    >>> _with_error(4191.7, 570.8, "MΩ")
    '4190 ± 570 MΩ'
    """
    if not np.isfinite(error) or error <= 0:
        return _number(value, unit)
    place = 1 - int(np.floor(np.log10(error)))
    digits = max(place, 0)
    return f"{round(value, place):.{digits}f} ± {round(error, place):.{digits}f} {unit}"


def _how_slope(found: Inspection) -> str:
    slope = found.slope
    levels = slope.levels[slope.used]
    return f"slope of {levels.size} steady voltages, {_number(levels.min())} to {_number(levels.max())}"


def _sweeps(numbers: Sequence[int]) -> str:
    return f"sweep {numbers[0]}" if len(numbers) == 1 else f"{len(numbers)} sweeps"
