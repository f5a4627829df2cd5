"""Which part of a recording a target uses: sweeps and samples, and whether they can be used."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from odynn import units
from odynn.data import Recording, split_sweeps
from odynn.errors import RecordingError, did_you_mean, listed
from odynn.recordings import resampling
from odynn.recordings.channels import CHANNELS
from odynn.recordings.checks import find_gap
from odynn.recordings.weights import find_weight_problems

RESAMPLE = ("mean", "sample")
STATE_UNITS = {"V": "mV"}
"""Units that models compute in. The unit of calcium is the recording's."""

SHOWN = 40
"""How many sweeps a list shows."""


@dataclass(frozen=True)
class Request:
    """What a target asks of a recording; the arguments of ``prepare``.

    Attributes:
        current: unit of the model's currents; None: a density where there is an area, else nA.
    """

    dt: float
    area: float | None = None
    capacitance: float | None = None
    sweeps: Sequence[int] | None = None
    train: Sequence[int] | None = None
    test: Sequence[int] | None = None
    window: Sequence[float] | None = None
    resample: str = "mean"
    preparation: Mapping | None = None
    current: str | None = None

    @property
    def membrane(self) -> float | None:
        """Membrane area in µm², of the capacitance at 1 µF/cm² where that is given."""
        return self.area if self.capacitance is None else units.membrane_area(self.capacitance)


@dataclass(frozen=True, eq=False)
class Plan:
    """What a request comes to.

    Attributes:
        first: number of the first sample that is used.
        last: number of the last sample that is used.
        places: [sweep] places of the sweeps that are used.
        train: [sweep] which of them train.
        interval: sampling interval in ms.
        ratio: sampling intervals in a step.
        steps: number of steps.
    """

    first: int
    last: int
    places: np.ndarray
    train: np.ndarray
    interval: float
    ratio: float
    steps: int

    def take(self, trace: np.ndarray) -> np.ndarray:
        """Return the part [time, sweep] of a trace of the recording."""
        return trace[self.first : self.last + 1, self.places]

    def ends(self, recording: Recording) -> np.ndarray:
        """Return when each step ends, in ms of the recording's own time."""
        return recording.time[self.first] + np.arange(1, self.steps + 1) * self.ratio * self.interval

    def part(self, recording: Recording) -> Recording:
        """Return the part of a recording that is used, as a recording."""
        return replace(
            recording,
            time=recording.time[self.first : self.last + 1],
            stimulus=self.take(recording.stimulus),
            responses={channel: self.take(trace) for channel, trace in recording.responses.items()},
            sweeps=recording.sweeps[self.places],
            labels=tuple(recording.labels[place] for place in self.places) if recording.labels else (),
        )


def find_request_problems(request: Request) -> list[str]:
    """Return what is wrong with a request whatever the recording is."""
    problems = []
    if not _is_positive(request.dt):
        problems.append(
            f"dt: expected the time step, a positive number in ms. Received: {request.dt!r}. Correct it."
        )
    if request.area is not None and not _is_positive(request.area):
        problems.append(f"area: expected a positive number in µm². Received: {request.area!r}. Correct it.")
    if request.capacitance is not None and not _is_positive(request.capacitance):
        problems.append(
            f"capacitance: expected a positive number in pF. Received: {request.capacitance!r}. Correct it."
        )
    if request.capacitance is not None and request.area is not None:
        problems.append(
            "capacitance: expected the membrane area or the capacitance, as either gives the other. "
            "Received: both. "
            "Remove one of them."
        )
    if request.resample not in RESAMPLE:
        problems.append(
            f"resample: expected {' or '.join(RESAMPLE)}. Received: {request.resample!r}."
            f"{did_you_mean(request.resample, RESAMPLE)} Choose one of them."
        )
    lists = {"sweeps": request.sweeps, "train": request.train, "test": request.test}
    lists = {name: numbers for name, numbers in lists.items() if numbers is not None}
    wrong = {name: numbers for name, numbers in lists.items() if not _are_numbers(numbers)}
    problems += [
        f"{name}: expected numbers of sweeps, none of them twice, such as [0, 2]. "
        f"Received: {numbers!r}. Correct the list."
        for name, numbers in wrong.items()
    ]
    both = [] if wrong else sorted(set(lists.get("train", ())) & set(lists.get("test", ())))
    if both:
        problems.append(
            "test: expected sweeps that are not trained on. "
            f"Received: {listed(both)} in both train and test. Take each out of one of them."
        )
    if request.window is not None and not _is_interval(request.window):
        problems.append(
            f"window: expected [from, to] in ms, from before to. Received: {request.window!r}. Correct it."
        )
    return problems


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and 0 < value < np.inf


def _are_numbers(numbers: object) -> bool:
    if not isinstance(numbers, list | tuple | range | np.ndarray):
        return False
    whole = all(isinstance(one, int | np.integer) and not isinstance(one, bool) for one in numbers)
    return whole and len(set(numbers)) == len(numbers)


def _is_interval(window: object) -> bool:
    if not isinstance(window, list | tuple | np.ndarray) or len(window) != 2:
        return False
    real = all(isinstance(at, int | float | np.number) and np.isfinite(at) for at in window)
    return bool(real and window[0] < window[1])


def make_plan(recording: Recording, request: Request, uncounted: np.ndarray) -> tuple[Plan | None, list[str]]:
    """Return what a request without problems comes to for a recording, and every problem with that.

    Args:
        recording: corrected as the request asks.
        request: without problems.
        uncounted: [time, sweep] the samples of responses that do not count, and may be gaps.
    """
    problems = []
    problems += _find_unit_problems(recording, request)
    name = recording.source.get("file", "the recording")
    interval = recording.interval
    selected, text = _select_sweeps(name, recording.sweeps.tolist(), request)
    problems += [text] if text else []
    span, text = _select_samples(name, recording.time, interval, request.window)
    problems += [text] if text else []
    if selected is None or span is None:
        return None, problems
    first, last = span
    ratio = resampling.exact_ratio(request.dt, interval, last - first + 1)
    steps = resampling.count_steps(last - first + 1, ratio)
    if steps < 2:
        problems.append(
            f"dt: expected a step that fits at least twice into the {(last - first) * interval:.10g} ms of "
            f"{name} that are used. Received: {request.dt:g} ms. Take a smaller dt, or a longer window."
        )
    plan = Plan(first, last, *selected, interval, ratio, steps)
    if steps >= 2:
        weights, used = (request.preparation or {}).get("weights") or (), recording.sweeps[plan.places]
        problems += find_weight_problems(weights, plan.ends(recording), used, plan.train)
    if recording.clamp == "voltage" and problems:
        return plan, problems
    return plan, problems + find_value_problems(recording, plan, request.membrane, uncounted)


def clamp_current(recording: Recording, request: Request) -> str:
    """Return the unit that the current of a voltage-clamp recording is wanted in."""
    dense = request.membrane is not None or units.is_like(recording.units["I"], units.DENSITY)
    return request.current or (units.DENSITY if dense else "nA")


def _find_unit_problems(recording: Recording, request: Request) -> list[str]:
    """Return why the currents of a recording cannot be those of the model."""
    name = recording.source.get("file", "the recording")
    if recording.clamp == "voltage":
        unit, wanted = recording.units["I"], clamp_current(recording, request)
        if not units.is_like(recording.units["stimulus"], "mV"):
            return [
                f"{name}: expected a command in mV, as the response is a current. Received: a stimulus in "
                f"{recording.units['stimulus']}. Name the command with columns: {{stimulus: …}}, or correct "
                "its unit (units: {stimulus: mV})."
            ]
        if units.is_like(wanted, units.DENSITY):
            return _problem_of(units.check_area, unit, request.membrane, "the recorded current")
        if not units.is_like(unit, wanted) or request.membrane is not None:
            received = f"a current in {unit}" + (" and a membrane area" if request.membrane else "")
            return [
                f"{name}: the model has the conductance of a whole cell, and takes a current in {wanted}, "
                f"without an area. Received: {received}. Remove area or capacitance, or take a model with "
                "conductances in mS/cm²."
            ]
        return []
    if request.current is not None and not units.is_like(request.current, units.DENSITY):
        return [
            f"{name}: the model is of a current in {request.current}, in voltage clamp. Expected a voltage "
            "as the stimulus and the recorded current I. Received: a stimulus in "
            f"{recording.units['stimulus']}. Take a model with conductances in mS/cm², or say which "
            "channel is which with columns: {stimulus: …, I: …}."
        ]
    return _problem_of(units.check_area, recording.units["stimulus"], request.membrane)


def _problem_of(check: Callable, *arguments: object) -> list[str]:
    try:
        check(*arguments)
    except RecordingError as error:
        return [str(error)]
    return []


def _select_sweeps(
    name: str, there: list[int], request: Request
) -> tuple[tuple[np.ndarray, np.ndarray] | None, str]:
    """Return the places of the sweeps that are used and which of them train; or a problem."""
    sweeps, train, test = request.sweeps, request.train, request.test
    for key, numbers in (("sweeps", sweeps), ("train", train), ("test", test)):
        within_list = key != "sweeps" and sweeps is not None
        known = list(sweeps) if within_list else there
        unknown = [number for number in (() if numbers is None else numbers) if number not in known]
        if unknown:
            where = "that 'sweeps' lists" if within_list else f"of {name}"
            return None, (
                f"{key}: expected sweeps {where}, which are {listed(known, most=SHOWN)}. "
                f"Received: {listed(unknown)}. Choose among them."
            )
    pool = [number for number in there if sweeps is None or number in sweeps]
    train, test = split_sweeps(pool, train, test)
    if len(train) == 0:
        return None, (
            "train: expected at least one sweep to fit. Received: none, of the sweeps "
            f"{listed(pool, most=SHOWN) or '(none)'} of {name}. Take one out of test, or name it in train."
        )
    used = [number for number in pool if number in train or number in test]
    places = np.array([there.index(number) for number in used], dtype=int)
    return (places, np.array([number in train for number in used])), ""


def _select_samples(
    name: str, time: np.ndarray, interval: float, window: Sequence[float] | None
) -> tuple[tuple[int, int] | None, str]:
    """Return the first and the last sample of the window; or a problem."""
    if window is None:
        return (0, time.size - 1), ""
    # Counted in sampling intervals, with slack for 0.3 to be the third sample of 0.1 ms. An end one
    # interval past the last sample is taken: 3000 ms of samples of 0.1 ms end with the one at 2999.9.
    start, end = ((float(at) - time[0]) / interval for at in window)
    first, last = int(np.ceil(start - 1e-3)), int(np.floor(end + 1e-3))
    if first < 0 or last > time.size:
        return None, (
            f"window: expected times within {name}, {time[0]:.10g} to {time[-1]:.10g} ms. "
            f"Received: [{window[0]:.10g}, {window[1]:.10g}]. Choose times within it."
        )
    last = min(last, time.size - 1)
    if last - first < 1:
        return None, (
            f"window: expected at least two samples of {name}, which are {interval:.10g} ms apart. "
            f"Received: [{window[0]:.10g}, {window[1]:.10g}]. Widen it."
        )
    return (first, last), ""


def find_value_problems(
    recording: Recording, plan: Plan, area: float | None, uncounted: np.ndarray
) -> list[str]:
    """Return the gaps and the impossible values of the part that is used."""
    name = recording.source.get("file", "the recording")
    time, sweeps = recording.time[plan.first : plan.last + 1], recording.sweeps[plan.places]
    problems = []
    empty = sweeps[plan.take(uncounted).all(axis=0)]
    if empty.size:
        problems.append(
            "preparation: at least one sample of every sweep must count. Received: none in sweep "
            f"{empty[0]} of "
            f"{name}, all being in mask or blank. Narrow them, or leave the sweep out."
        )
    for channel, trace in (("stimulus", recording.stimulus), *recording.responses.items()):
        trace, unit, meaning = plan.take(trace), recording.units[channel], CHANNELS[channel].meaning
        if channel != "stimulus":
            trace = np.where(plan.take(uncounted), 0.0, trace)
        text = find_gap(meaning, trace, time, sweeps, plan.first)
        if not text and channel == "stimulus" and recording.clamp == "voltage":
            values = units.convert(trace, unit, units.LIMITS["command"].unit, meaning)
            text = units.find_implausible("command", values, unit, sweeps, plan.first)
        elif not text and channel == "stimulus":
            dense = units.is_like(unit, units.DENSITY)
            if dense or area is not None:  # without an area there is no density to judge
                values = units.current_density(trace, unit, None if dense else area)
                text = units.find_implausible(channel, values, unit, sweeps, plan.first)
        elif not text and channel in units.LIMITS:
            values = units.convert(trace, unit, units.LIMITS[channel].unit, meaning)
            text = units.find_implausible(channel, values, unit, sweeps, plan.first)
        if text:
            problems.append(f"{name}, {text}")
    return problems
