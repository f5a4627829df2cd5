"""Reader of NWB 2 files (Neurodata Without Borders): series of current clamp and of voltage clamp."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from odynn.errors import RecordingError, listed
from odynn.recordings.channels import Contents
from odynn.recordings.isolation import run_isolated
from odynn.recordings.libraries import check_signature, load_library, reading, version_of

_KIND = "an NWB file"
# What each class of series is in odynn.
_RESPONSES = {"CurrentClampSeries": "V", "IZeroClampSeries": "V", "VoltageClampSeries": "I"}
_STIMULI = {"CurrentClampStimulusSeries": "V", "VoltageClampStimulusSeries": "I"}
_UNITS = {"volts": "V", "volt": "V", "amperes": "A", "ampere": "A"}
_METADATA = ("species", "genotype", "strain", "sex", "age")


@dataclass(frozen=True, eq=False)
class _Sweep:
    """One sweep: its number, its response and its stimulus (None: the file has none)."""

    number: int
    response: object
    stimulus: object | None


def read(path: Path, columns: Mapping[str, str] | None, sweeps: Sequence[int] | None) -> Contents:
    """Read an NWB file.

    A response and its stimulus belong together by the table of intracellular recordings, else by the
    number of the sweep, else by the number at the end of the name. Sweeps are in order of number. A
    sweep that is shorter than the others ends in NaN.

    Args:
        path: the file.
        columns: channel (V, I, stimulus) to the name of its series, ``{sweep}`` standing for the number;
            null: all series of current clamp, or of voltage clamp where there are none.
        sweeps: numbers of the sweeps to read, which then must have one length and rate; null: all.

    Returns:
        The traces; the time counts from the beginning of each sweep.

    Raises:
        RecordingError: not a whole NWB file, it has no clamp series, or they do not fit together.
    """
    check_signature(path, _KIND, (b"\x89HDF\r\n\x1a\n",))
    return run_isolated(read_here, path, columns, sweeps)


def read_here(path: Path, columns: Mapping[str, str] | None, sweeps: Sequence[int] | None) -> Contents:
    """Read an NWB file in this process; as `read` otherwise."""
    pynwb = load_library(path, _KIND, "pynwb")
    with (
        reading(path, "NWB file", "pynwb"),
        pynwb.NWBHDF5IO(str(path), "r", load_namespaces=True) as source,
    ):
        file = source.read()
        series = _series(file)
        found = [name for name, _ in series]
        channel, chosen = _pair(path, file, series, columns or {})
        if sweeps is not None:
            chosen = [sweep for sweep in chosen if sweep.number in sweeps] or chosen
        contents = _contents(path, channel, chosen)
        metadata = _metadata(file, chosen)
    notes = {"library": version_of("pynwb")}
    used = sum(1 + (sweep.stimulus is not None) for sweep in chosen)
    if used < len(found):
        notes["series left out"] = str(len(found) - used)
    return Contents(**contents, found=found, notes=notes, metadata=metadata)


def _series(file) -> list[tuple[str, object]]:
    """Return the name of each series and the series, responses first."""
    groups = (file.acquisition or {}, file.stimulus or {})
    return [(name, item) for group in groups for name, item in group.items() if hasattr(item, "data")]


def _pair(path: Path, file, series: list, columns: Mapping[str, str]) -> tuple[str, list[_Sweep]]:
    """Return the response's channel, and the sweeps in order of number."""
    if set(columns) & {"V", "I", "Ca"}:
        channel = next(name for name in ("V", "I", "Ca") if name in columns)
        responses = _named(path, series, channel, columns[channel])
    else:
        kinds = {id(item): _RESPONSES.get(type(item).__name__) for _, item in series}
        channel = "V" if "V" in kinds.values() else "I"
        responses = [(name, item) for name, item in series if kinds[id(item)] == channel]
    if not responses:
        kinds = sorted({type(item).__name__ for _, item in series})
        raise RecordingError(
            f"{path}: expected series of current clamp or voltage clamp. Received: "
            f"{listed(kinds) or 'no series'}. "
            "Give a file of intracellular recordings, or name the series with columns: {V: …, stimulus: …}."
        )
    electrodes = {getattr(getattr(item, "electrode", None), "name", "") for _, item in responses}
    if len(electrodes) > 1:
        raise RecordingError(
            f"{path}: expected one cell. Received: series of the electrodes {listed(sorted(electrodes))}. "
            "Name "
            f"those of one with columns: {{{channel}: …}}, {{sweep}} standing for the number in the name, "
            "as in "
            f"{re.sub(r'[0-9]+(?!.*[0-9])', '{sweep}', responses[0][0])}."
        )
    if "stimulus" in columns:
        stimuli = _named(path, series, "stimulus", columns["stimulus"])
    else:
        stimuli = [(name, item) for name, item in series if _STIMULI.get(type(item).__name__) == channel]
    rows = _table(file)
    numbers = _number(path, responses, rows)
    partners = {id(row[0]): row[1] for row in rows if row[1] is not None}
    by_number = _by_number(path, stimuli, rows)
    chosen = []
    for (_, item), number in zip(responses, numbers, strict=True):
        partner = partners.get(id(item)) if "stimulus" not in columns else None
        chosen.append(_Sweep(number, item, partner if partner is not None else by_number.get(number)))
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        names = [name for (name, _), number in zip(responses, numbers, strict=True) if number == twice]
        raise RecordingError(
            f"{path}: expected one response a sweep. Received: {listed(names)}, all of sweep {twice}. Say "
            "which "
            f"is meant with columns: {{{channel}: …}}."
        )
    missing = [sweep.number for sweep in chosen if sweep.stimulus is None]
    if stimuli and missing and len(missing) < len(chosen):
        raise RecordingError(
            f"{path}: every sweep must have a stimulus. Received: none for the sweeps "
            f"{listed(sorted(missing))}. "
            "Leave them out (sweeps), or describe the stimulus with protocol: {…}."
        )
    return channel, sorted(chosen, key=lambda sweep: sweep.number)


def _named(path: Path, series: list, channel: str, pattern: str) -> list[tuple[str, object]]:
    expression = re.escape(pattern).replace(r"\{sweep\}", r"\d+")
    matches = [(name, item) for name, item in series if re.fullmatch(expression, name)]
    if not matches:
        raise RecordingError(
            f"columns.{channel}: expected the name of a series of {path}, {{sweep}} standing for its "
            "number, as "
            f"one of {listed([name for name, _ in series]) or '(none)'}. Received: '{pattern}'. Correct it."
        )
    return matches


def _table(file) -> list[tuple[object, object, int]]:
    """Return (response, stimulus or None, number) of each row of the table of intracellular recordings."""
    table = getattr(file, "intracellular_recordings", None)
    if table is None:
        return []
    rows = []
    for place in range(len(table)):
        row = table[place : place + 1]
        response = row[("responses", "response")].iloc[0].timeseries
        stimulus = row[("stimuli", "stimulus")].iloc[0]
        partner = stimulus.timeseries if getattr(stimulus, "count", 0) > 0 else None
        rows.append((response, partner, int(table.id[place])))
    return rows


def _number(path: Path, responses: list, rows: list) -> list[int]:
    """Return the number of each sweep: of the series, of the name, or of its row in the table."""
    numbers = [_own_number(name, item) for name, item in responses]
    if None in numbers or len(set(numbers)) < len(numbers):
        by_row = {id(response): number for response, _, number in rows}
        if all(id(item) in by_row for _, item in responses):
            return [by_row[id(item)] for _, item in responses]
    if None in numbers:
        return (
            list(range(len(responses)))
            if len(responses) == 1
            else [number if number is not None else -1 for number in numbers]
        )
    return numbers


def _own_number(name: str, item: object) -> int | None:
    number = getattr(item, "sweep_number", None)
    if number is not None and np.isfinite(number):
        return int(number)
    digits = re.findall(r"\d+", name)
    return int(digits[-1]) if digits else None


def _by_number(path: Path, stimuli: list, rows: list) -> dict[int, object]:
    found: dict[int, object] = {}
    if len(stimuli) == 1 and not rows and _own_number(*stimuli[0]) is None:
        return {0: stimuli[0][1]}
    for name, item in stimuli:
        number = _own_number(name, item)
        if number is not None:
            found.setdefault(number, item)
    return found


def _contents(path: Path, channel: str, chosen: list[_Sweep]) -> dict:
    """Return the entries time, stimulus, responses, units, sweeps and labels of the contents."""
    intervals = {sweep.number: _interval(path, sweep.response) for sweep in chosen}
    first = intervals[chosen[0].number]
    odd = [number for number, interval in intervals.items() if not np.isclose(interval, first, rtol=1e-6)]
    if odd:
        raise RecordingError(
            f"{path}: expected one sampling rate. Received: {1000 / first:.10g} Hz in sweep "
            f"{chosen[0].number} and "
            f"{1000 / intervals[odd[0]]:.10g} Hz in sweep {odd[0]}. Choose sweeps of one rate (sweeps: […])."
        )
    responses, unit = zip(*(_values(path, sweep.number, sweep.response) for sweep in chosen), strict=True)
    length = max(len(trace) for trace in responses)
    units = {"time": "ms", channel: unit[0]}
    stimulus = None
    if all(sweep.stimulus is not None for sweep in chosen):
        stimuli, unit = zip(*(_values(path, sweep.number, sweep.stimulus) for sweep in chosen), strict=True)
        units["stimulus"] = unit[0]
        for sweep, given, trace in zip(chosen, stimuli, responses, strict=True):
            interval = _interval(path, sweep.stimulus)
            if len(given) < len(trace) or not np.isclose(interval, first, rtol=1e-6):
                raise RecordingError(
                    f"{path}, sweep {sweep.number}: expected a stimulus as long as the response, "
                    f"{len(trace)} samples {first:.10g} ms apart. Received: {len(given)} samples "
                    f"{interval:.10g} ms apart. Leave the sweep out (sweeps), or describe the stimulus with "
                    "protocol: {…}."
                )
        stimulus = _columns(
            [given[: len(trace)] for given, trace in zip(stimuli, responses, strict=True)], length
        )
    labels = [
        str(getattr(sweep.response, "stimulus_description", None) or sweep.response.name) for sweep in chosen
    ]
    return {
        "time": np.arange(length) * first,
        "stimulus": stimulus,
        "responses": {channel: _columns(responses, length)},
        "units": units,
        "sweeps": [sweep.number for sweep in chosen],
        "labels": labels,
    }


def _interval(path: Path, item) -> float:
    """Return the sampling interval of a series in ms."""
    rate = getattr(item, "rate", None)
    if rate is not None and np.isfinite(rate) and rate > 0:
        return float(f"{1000 / rate:.12g}")
    stamps = getattr(item, "timestamps", None)
    if stamps is None or len(stamps) < 2:
        raise RecordingError(
            f"{path}, series {item.name}: expected a sampling rate above 0, or a time for every sample. "
            "Received: "
            f"rate {rate}. Leave the sweep out (sweeps), or mend the file."
        )
    stamps = np.asarray(stamps[...], dtype=np.float64)
    steps = np.diff(stamps)
    interval = (stamps[-1] - stamps[0]) / (len(stamps) - 1)
    odd = np.flatnonzero(~(np.abs(steps - interval) <= 0.01 * abs(interval)))
    if odd.size or not interval > 0:
        sample = int(odd[0]) + 1 if odd.size else 1
        raise RecordingError(
            f"{path}, series {item.name}, sample {sample}: expected uniform times, {interval:.10g} s apart. "
            f"Received: {steps[sample - 1]:.10g} s. Interpolate to uniform times, or leave the sweep out "
            "(sweeps)."
        )
    return float(f"{1000 * interval:.12g}")


def _values(path: Path, number: int, item) -> tuple[np.ndarray, str]:
    """Return the samples of a series in its unit, and the unit."""
    shape = np.shape(item.data)
    if len(shape) == 2 and 1 in shape:
        shape = (max(shape),)
    if len(shape) != 1 or not shape[0]:
        raise RecordingError(
            f"{path}, sweep {number}, series {item.name}: expected samples [time]. Received: an array of "
            "shape "
            f"{list(np.shape(item.data))}. Leave the sweep out (sweeps), or mend the file."
        )
    data = np.asarray(item.data[...], dtype=np.float64).reshape(-1)
    conversion = float(getattr(item, "conversion", 1.0) or 1.0)
    data = data * conversion + float(getattr(item, "offset", 0.0) or 0.0)
    unit = " ".join(str(getattr(item, "unit", "") or "").split())
    return data, _UNITS.get(unit.lower(), unit)


def _columns(traces: Sequence[np.ndarray], length: int) -> np.ndarray:
    result = np.full((length, len(traces)), np.nan)
    for place, trace in enumerate(traces):
        result[: len(trace), place] = trace
    return result


def _metadata(file, chosen: list[_Sweep]) -> dict[str, str]:
    response = chosen[0].response
    found = {
        "description": file.session_description,
        "protocol": file.protocol,
        "institution": file.institution,
        "electrode": getattr(getattr(response, "electrode", None), "name", None),
        "location": getattr(getattr(response, "electrode", None), "location", None),
        "bias current": getattr(response, "bias_current", None),
        "bridge balance": getattr(response, "bridge_balance", None),
        "capacitance compensation": getattr(response, "capacitance_compensation", None),
    }
    found |= {name: getattr(file.subject, name, None) for name in _METADATA}
    return {key: " ".join(str(value).split()) for key, value in found.items() if value is not None}
