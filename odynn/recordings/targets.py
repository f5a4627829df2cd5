"""From a recording to the target of a fit: the part that is used, on the model's time grid."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from odynn import units
from odynn.data import Recording, Target
from odynn.errors import RecordingError, listed
from odynn.findings import WARNING, Inspection
from odynn.recordings import resampling
from odynn.recordings.channels import CHANNELS
from odynn.recordings.files import find_files, is_address
from odynn.recordings.inspection import inspect, interpolate
from odynn.recordings.preparation import correct, find_uncounted
from odynn.recordings.protocols import split_amplitudes
from odynn.recordings.reading import read
from odynn.recordings.selection import (
    SHOWN,
    STATE_UNITS,
    Plan,
    Request,
    clamp_current,
    find_request_problems,
    make_plan,
)
from odynn.recordings.weights import make_weights

logger = logging.getLogger(__name__)


def load_target(
    target_settings: Mapping,
    dt: float,
    steady_state: bool,
    fetched: Sequence[str] = (),
    current: str | None = None,
) -> Target:
    """Read a recording and make it the target of a fit.

    Args:
        target_settings: the block ``target`` of an experiment: file, and optionally format, columns,
            units, area, sweeps, train, test, window and resample.
        dt: time step of the model in ms.
        steady_state: whether simulations start from the recorded voltage.
        fetched: paths of the files of ``files_of``, where they have been fetched from addresses.
        current: unit of the model's currents; None: see ``prepare``.

    Returns:
        The target.

    Raises:
        RecordingError: the recording cannot be read or used as asked; one line a problem.
    """
    settings, notes = _fetched(target_settings, fetched)
    if notes:
        preflight(settings, dt, current)  # for its warnings: before it was fetched, nobody could look at it
    recording = read(settings["file"], **_reading(settings))
    recording = replace(recording, source=dict(recording.source) | notes)
    return _prepare(recording, _request(target_settings, dt, current), steady_state)


def _fetched(settings: Mapping, fetched: Sequence[str]) -> tuple[Mapping, dict[str, str]]:
    """Return settings with the paths of what was fetched in place of addresses, and the note about it."""
    file = settings["file"]
    if not _addresses(file):
        return settings, {}
    several = isinstance(file, list | tuple)
    paths = [str(path) for path in fetched]
    here = paths[: len(file)] if several else paths[0]
    said = listed(file, most=SHOWN) if several else file
    return dict(settings) | {"file": here}, {"address": said}


def _addresses(file: object) -> bool:
    """Return whether a file, or any of a list, has an address."""
    return any(is_address(one) for one in (file if isinstance(file, list | tuple) else [file]))


def files_of(target_settings: Mapping) -> list[str]:
    """Return the paths and addresses of all files that a target is made from; none for a synthetic one."""
    if not target_settings.get("file"):
        return []
    file = target_settings["file"]
    if _addresses(file):
        found = list(file) if isinstance(file, list | tuple) else [file]
    else:
        found = [str(one.path) for one in find_files(file)]
    if target_settings.get("stimulus"):
        found += [str(file.path) for file in find_files(target_settings["stimulus"]["file"])]
    amplitudes = (target_settings.get("protocol") or {}).get("amplitudes")
    return found + ([split_amplitudes(amplitudes)[0]] if isinstance(amplitudes, str) else [])


def preflight(
    target_settings: Mapping, dt: float, current: str | None = None, fitted: Sequence[str] = ()
) -> list[str]:
    """Return what would stop ``load_target``, one message a problem; an empty list: nothing.

    What would not stop it but looks wrong is logged as a warning: see ``inspect``.

    Args:
        target_settings: as in ``load_target``; without a file (a synthetic target) there is nothing
            to check.
        dt: time step of the model in ms.
        current: unit of the model's currents; None: see ``prepare``.
        fitted: the states that the loss needs.
    """
    if not target_settings.get("file"):
        return []
    request = _request(target_settings, dt, current)
    problems = find_request_problems(request)
    if _addresses(target_settings["file"]):
        return problems  # what has an address is checked when it has been fetched
    try:
        recording = read(target_settings["file"], **_reading(target_settings))
    except RecordingError as error:
        return problems + str(error).split("\n")
    if problems:
        return problems
    try:
        recording = correct(recording, request.preparation)
    except RecordingError as error:
        return str(error).split("\n")
    uncounted = find_uncounted(recording, request.preparation)[0]
    plan, problems = make_plan(recording, request, uncounted)
    problems += _find_unrecorded(recording, fitted)
    if plan is not None and not problems:
        _log_warnings(interpolate(plan.part(recording), plan.take(uncounted)))
    return problems


def _find_unrecorded(recording: Recording, fitted: Sequence[str]) -> list[str]:
    """Say which states that are to be fitted a recording lacks."""
    there = [state for state in recording.responses if state != "I" or recording.clamp == "voltage"]
    missing = [state for state in fitted if state not in there]
    if not missing:
        return []
    return [
        f"{recording.source.get('file', 'the recording')}: expected the states that the loss needs, "
        f"{listed(fitted)}. Received: {listed(CHANNELS[one].meaning for one in there)}. Fit "
        f"what is there, with loss: {{{there[0]}: 1.0}}, or say where {missing[0]} is with columns."
    ]


def checksums_of(target_settings: Mapping) -> dict[str, str]:
    """Return the checksums of the files that a target is made from, by their keys in its source.

    Args:
        target_settings: as in ``load_target``, with a file on this machine.

    Raises:
        RecordingError: the recording cannot be read as asked.
    """
    source = read(target_settings["file"], **_reading(target_settings) | {"sha256": None}).source
    return {key: value for key, value in source.items() if key.endswith("sha256")}


def inspect_target(target_settings: Mapping) -> Inspection:
    """Look at the recording of a target, as its preparation leaves it.

    Args:
        target_settings: as in ``load_target``, with a file.

    Returns:
        What was found, in all its sweeps and at all times: see ``inspect``.

    Raises:
        RecordingError: the recording cannot be read or prepared as asked.
    """
    request = _request(target_settings, 1.0)
    recording = read(target_settings["file"], **_reading(target_settings))
    recording = correct(recording, request.preparation)
    uncounted = find_uncounted(recording, request.preparation)[0]
    return inspect(interpolate(recording, uncounted), request.membrane)


def _log_warnings(recording: Recording) -> None:
    name = recording.source.get("file", "the recording")
    for remark in inspect(recording).remarks:
        if remark.weight == WARNING:
            logger.warning("%s: %s", name, remark.text)


def _reading(settings: Mapping) -> dict:
    keys = ("columns", "units", "interval", "protocol", "stimulus", "sweeps", "sha256")
    wanted = {"format": settings.get("format") or "auto"} | {key: settings.get(key) for key in keys}
    repeats = (settings.get("preparation") or {}).get("repeats")
    if repeats and wanted["sweeps"] is not None:
        wanted["sweeps"] = [*wanted["sweeps"], *(number for group in repeats for number in group)]
    return wanted


def _request(settings: Mapping, dt: float, current: str | None = None) -> Request:
    keys = ("area", "capacitance", "sweeps", "train", "test", "window", "preparation")
    optional = {key: settings.get(key) for key in keys}
    return Request(dt, **optional, resample=settings.get("resample") or "mean", current=current)


def prepare(
    recording: Recording,
    *,
    dt: float,
    area: float | None = None,
    capacitance: float | None = None,
    sweeps: Sequence[int] | None = None,
    train: Sequence[int] | None = None,
    test: Sequence[int] | None = None,
    window: Sequence[float] | None = None,
    resample: str = "mean",
    preparation: Mapping | None = None,
    initial: bool = False,
    current: str | None = None,
) -> Target:
    """Put a recording on the time grid of a model.

    The target's time counts from the first sample that is used. The stimulus of a step is its mean
    over the step, each sample holding until the next. A response is taken at the end of each step:
    the mean over one dt around it (which does not delay the trace, as the mean over the step before
    it would), or on a straight line between samples where dt is shorter than the sampling interval.

    Args:
        recording: as ``read`` returns it.
        dt: time step of the model in ms.
        area: membrane area in µm², needed where the stimulus is a current and not a density; or
        capacitance: of the membrane in pF, which is divided by 1 µF/cm².
        sweeps: numbers of the sweeps that may be used; None: all.
        train: numbers of the sweeps that are fitted; None: all but those of ``test``, or every other
            one, the first among them, if that is None too.
        test: numbers of the sweeps that are held out; None: all but those of ``train``. A sweep in
            neither is left out.
        window: [from, to], the part that is used, in ms of the recording's own time; None: all of it.
        resample: "mean" as said above; "sample" takes the sample nearest to the start of each step
            for the stimulus and nearest to its end for a response.
        preparation: corrections, repeats, samples that do not count, and weights, as in the
            configuration.
        initial: whether to keep the first voltage of each sweep, for simulations to start from: the
            recorded one, or in voltage clamp that of the command.
        current: unit of the model's currents, for voltage clamp; None: a density where there is an area,
            else nA.

    Returns:
        The target: V in mV, stimulus in µA/cm², calcium in the recording's unit, in voltage clamp the
        command in mV and the current I; NaN where a sample does not count.

    Raises:
        RecordingError: an argument is wrong or does not fit the recording, or the part that is used
            has gaps or values that cannot be right; one line a problem.
    """
    request = Request(dt, area, capacitance, sweeps, train, test, window, resample, preparation, current)
    return _prepare(recording, request, initial)


def _prepare(recording: Recording, request: Request, initial: bool) -> Target:
    problems = find_request_problems(request)
    if not problems:
        recording = correct(recording, request.preparation)
        uncounted, notes = find_uncounted(recording, request.preparation)
        plan, problems = make_plan(recording, request, uncounted)
    if problems:
        raise RecordingError("\n".join(problems))

    stimulus = _stimulus(recording, plan, request)
    wanted = _state_units(recording, request)
    traces = {}
    for state, trace in recording.responses.items():
        if state not in wanted:
            notes[state] = "left out: a recorded current is fitted in voltage clamp alone"
            continue
        unit, meaning, trace = recording.units[state], CHANNELS[state].meaning, plan.take(trace)
        if state == "I" and units.is_like(wanted[state], units.DENSITY):
            traces[state] = units.current_density(trace, unit, request.membrane, meaning)
        else:
            traces[state] = units.convert(trace, unit, wanted[state], meaning)
    missing = plan.take(uncounted)
    traces = (
        {state: np.where(missing, np.nan, trace) for state, trace in traces.items()}
        if missing.any()
        else traces
    )
    held = stimulus if recording.clamp == "voltage" else traces.get("V")
    first = None
    if initial and held is not None:
        # The first sample that counts: a masked beginning has no voltage.
        first = held[np.argmax(~np.isnan(held), axis=0), np.arange(held.shape[1])]
    if initial and first is None:
        notes["initial state"] = "the model's own: the recording has no voltage to start from"
        logger.warning("The recording has no voltage, so simulations start from the model's own state.")

    used, given = recording.sweeps[plan.places], (request.preparation or {}).get("weights") or ()
    weights, said = make_weights(given, plan.ends(recording), used, plan.train)
    ends = np.arange(1, plan.steps + 1)
    if request.resample == "mean":
        stimulus = resampling.step_means(stimulus, plan.ratio, plan.steps)
        observed = {
            state: resampling.with_gaps(resampling.centred_means, trace, plan.ratio, plan.steps)
            for state, trace in traces.items()
        }
    else:
        stimulus = resampling.nearest(stimulus, (ends - 1) * plan.ratio)
        take = resampling.nearest if plan.ratio >= 1 else resampling.interpolate
        observed = {
            state: resampling.with_gaps(take, trace, ends * plan.ratio) for state, trace in traces.items()
        }
    return Target(
        time=ends * float(request.dt),
        stimulus=stimulus,
        observed=observed,
        units=wanted | ({"stimulus": "mV"} if recording.clamp == "voltage" else {}),
        sweeps=used,
        train=plan.train,
        initial=first,
        source=dict(recording.source)
        | _describe(recording, plan, request)
        | notes
        | said
        | _about(recording),
        weights=weights,
    )


def _stimulus(recording: Recording, plan: Plan, request: Request) -> np.ndarray:
    """Return the stimulus [time, sweep] that is used, in the unit of the target."""
    trace, unit = plan.take(recording.stimulus), recording.units["stimulus"]
    if recording.clamp == "voltage":
        return units.convert(trace, unit, "mV", "the command voltage")
    return units.current_density(trace, unit, request.membrane)


def _state_units(recording: Recording, request: Request) -> dict[str, str]:
    """Return the unit of each response in the target."""
    if recording.clamp == "current":
        states = [state for state in recording.responses if state != "I"]
        return {state: STATE_UNITS.get(state, recording.units[state]) for state in states}
    unit = clamp_current(recording, request)
    return {"I": "µA/cm²" if units.is_like(unit, units.DENSITY) else unit}


def _about(recording: Recording) -> dict[str, str]:
    """Return what the file says of the cell and the experiment, for the source."""
    return {f"file says of {key}": value[:1000] for key, value in recording.metadata.items()}


def _describe(recording: Recording, plan: Plan, request: Request) -> dict[str, str]:
    """Return every change made to a recording, for the source."""
    unit, wanted = recording.units["stimulus"], _state_units(recording, request)
    dense = recording.units["I"] if recording.clamp == "voltage" else unit
    over = (
        ""
        if units.is_like(dense, units.DENSITY) or request.membrane is None
        else f" over {request.membrane:.10g} µm²"
    )
    if over and request.capacitance is not None:
        over += f" ({request.capacitance:.10g} pF at 1 µF/cm²)"
    notes = {"stimulus": f"{unit}{over} converted to µA/cm²"}
    if recording.clamp == "voltage":
        notes = {"stimulus": "the command voltage, in mV" if unit == "mV" else f"{unit} converted to mV"}
    for state in wanted:
        unit = recording.units[state]
        if unit != wanted[state]:
            notes[state] = f"{unit}{over if state == 'I' else ''} converted to {wanted[state]}"
    used = recording.sweeps[plan.places]
    notes["sweeps"] = f"{listed(used, most=SHOWN)} of {recording.sweeps.size}"
    notes["train"] = listed(used[plan.train], most=SHOWN)
    if request.window is not None:
        start, end = recording.time[plan.first], recording.time[plan.last]
        notes["window"] = f"samples {plan.first} to {plan.last}, {start:.10g} to {end:.10g} ms"
    change = f"from {plan.interval:.10g} to {request.dt:.10g} ms"
    if plan.ratio == 1:
        notes["resample"] = "none"
    elif plan.ratio < 1:
        notes["resample"] = f"{change}: responses interpolated linearly, stimulus held"
    elif request.resample == "mean":
        notes["resample"] = (
            f"{change}: means of {plan.ratio:.10g} samples, of responses around the end of each step"
        )
    else:
        notes["resample"] = f"{change}: nearest samples"
    return notes
