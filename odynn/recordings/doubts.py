"""What in a recording looks wrong though it can be read, each with what to do about it.

One list for ``odynn inspect``, which shows everything, and for the checks before a run, which show the
warnings: see ``inspect`` and ``preflight``.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from odynn import units
from odynn.errors import listed
from odynn.findings import NOTE, WARNING, Inspection, Remark, SweepFindings
from odynn.recordings import artefacts
from odynn.recordings.channels import CHANNELS

_RESTING = (-110.0, -20.0)
"""Voltages (mV) between which cells rest."""

_RESISTANCES = {"pA": (2e-3, 100.0), units.DENSITY: (0.02, 1e4)}
"""Input resistances that occur, in GΩ and in kΩ·cm²."""

_JUNCTION = Remark(
    NOTE,
    "Whether the voltages are corrected for the liquid junction potential (10 to 16 mV with potassium "
    "gluconate) cannot be seen here. Reversal potentials shift by as much: find out, and correct with "
    "preparation: {junction_potential: …}.",
)

_DRIFT = 5.0
"""Change of the voltage at rest (mV) over a recording, or between two sweeps, that is worth a warning."""


def find_remarks(found: Inspection) -> list[Remark]:
    """Return the warnings and the notes on a recording, in this order.

    Args:
        found: what was found, without remarks.
    """
    remarks = list(_find_all(found))
    return [remark for weight in (WARNING, NOTE) for remark in remarks if remark.weight == weight]


def _find_all(found: Inspection) -> Iterator[Remark]:
    sweeps = [sweep for sweep in found.sweeps if sweep.finite]
    if not sweeps:
        return
    yield from _on_channels(found, sweeps)
    yield from _on_artefacts(found, sweeps)
    if found.recording.clamp == "voltage":
        yield Remark(
            NOTE,
            "The stimulus is a voltage: this is a voltage-clamp recording, whose current is the response.",
        )
    else:
        yield from _on_stimulus(found, sweeps)
    if found.response == "V":
        yield from _on_rest(found, sweeps)
        yield from _on_membrane(found)
        yield from _on_spikes(found, sweeps)
        if "junction potential" not in found.recording.source:
            yield _JUNCTION


def _short(value: float) -> str:
    """Spell a number with two digits, as 170 rather than 1.7e+02."""
    return f"{float(f'{value:.2g}'):g}"


def _meaning(found: Inspection) -> str:
    entry = CHANNELS.get(found.response)
    return entry.meaning if entry else f"the response {found.response}"


def _named(sweeps: Iterable[SweepFindings]) -> str:
    numbers = [sweep.number for sweep in sweeps]
    return f"sweep {numbers[0]}" if len(numbers) == 1 else f"sweeps {listed(numbers)}"


def _on_channels(found: Inspection, sweeps: list[SweepFindings]) -> Iterator[Remark]:
    recording, meaning = found.recording, _meaning(found)
    trace = recording.responses[found.response]
    flat = [
        sweep for place, sweep in enumerate(found.sweeps) if sweep.finite and np.ptp(trace[:, place]) == 0
    ]
    if flat:
        yield Remark(
            WARNING,
            f"{_named(flat)}: {meaning} never changes. Expected a recorded trace. Received: a constant. "
            "Check that its channel is the right one (columns), or leave the sweep out (sweeps).",
        )
    distinct = [np.unique(values[np.isfinite(values)]).size for values in (trace, recording.stimulus)]
    if 1 < distinct[0] <= 20 and distinct[1] > 200 and recording.time.size > 500:
        yield Remark(
            WARNING,
            f"{meaning} has {distinct[0]} different values, as a command has, and the stimulus "
            f"{distinct[1]}, as a recorded trace has. The two may be swapped: name them with columns.",
        )


def _on_artefacts(found: Inspection, sweeps: list[SweepFindings]) -> Iterator[Remark]:
    meaning = _meaning(found)
    unit = found.recording.units[found.response]
    clipped = [sweep for sweep in sweeps if artefacts.is_clipped(artefacts.trace_of(found, sweep))]
    if clipped:
        yield Remark(
            WARNING,
            f"{_named(clipped)}: {meaning} stays at its extreme value for several samples, as where an "
            "amplifier saturates. Record with a lower gain, or leave the sweep (sweeps) or the time (window) "
            "out.",
        )
    jumping = [sweep for sweep in sweeps if artefacts.has_transients(found, sweep)]
    if jumping:
        yield Remark(
            WARNING,
            f"{_named(jumping)}: {meaning} has large transients at the edges of steps, which no model "
            "follows. Compensate the electrode's capacitance when recording, or leave them out of the loss: "
            "preparation: {blank: {after: 2}}.",
        )
    hum = artefacts.find_hum(found, sweeps)
    if hum:
        frequency, amplitude = hum
        yield Remark(
            WARNING if amplitude > 0.01 * np.ptp(found.ranges[found.response][::2]) else NOTE,
            f"{meaning} has mains hum: {frequency:g} Hz with an amplitude of {_short(amplitude)} {unit}. "
            "A fit sees it as noise; ground the rig, or average repeats.",
        )


def _on_stimulus(found: Inspection, sweeps: list[SweepFindings]) -> Iterator[Remark]:
    unit = found.recording.units["stimulus"]
    still = [sweep for sweep in sweeps if not sweep.steps and sweep.constant == 1]
    levels = {sweep.baseline for sweep in still}
    if len(still) == len(sweeps) and len(levels) == 1:
        yield Remark(
            WARNING,
            f"the stimulus is {levels.pop():.4g} {unit} throughout, in every sweep. Expected steps or "
            "another waveform. If a current was injected, name its channel (columns: {stimulus: …}); without "
            "one, few parameters can be determined.",
        )
        return
    amplitudes = [abs(step.amplitude) for sweep in sweeps for step in sweep.steps]
    noise = artefacts.stimulus_noise(found)
    if amplitudes and noise > 0.02 * max(amplitudes):
        yield Remark(
            WARNING if noise > 0.2 * max(amplitudes) else NOTE,
            f"The stimulus fluctuates by {_short(noise)} {unit} from sample to sample, "
            f"{_short(100 * noise / max(amplitudes))} % of the largest step, as a measured current does. "
            "Averages over dt remove most of that (resample: mean); the command, where there is one, is the "
            "better stimulus.",
        )
    if amplitudes and abs(found.holding) > 0.02 * max(amplitudes):
        yield Remark(
            NOTE,
            f"Outside the steps, {found.holding:.3g} {unit} flow: the cell is held. The fit gets that "
            "current as part of the stimulus; a holding current that is not in it is added by preparation: "
            "{holding: …}.",
        )
    varying = [sweep for sweep in sweeps if sweep.constant < 0.9]
    if varying:
        yield Remark(
            NOTE,
            f"{_named(varying)}: the stimulus is not made of steps alone; measures of steps are of the rest.",
        )
    ending = [s for s in sweeps if s.steps and s.steps[-1].end > found.recording.time[-1]]
    if ending:
        yield Remark(
            NOTE,
            f"{_named(ending)}: the recording ends during a step, so the return to rest is not in it.",
        )


def _on_rest(found: Inspection, sweeps: list[SweepFindings]) -> Iterator[Remark]:
    unknown = [sweep for sweep in sweeps if sweep.steps and not np.isfinite(sweep.rest)]
    if unknown:
        yield Remark(
            WARNING,
            f"{_named(unknown)}: a step begins with the recording. Expected some time at rest before it, "
            "which the initial state of the model is taken from. Check that the stimulus and the response "
            "are aligned.",
        )
    rest = np.array([sweep.rest for sweep in sweeps if np.isfinite(sweep.rest)])
    if not rest.size:
        return
    if not _RESTING[0] <= np.median(rest) <= _RESTING[1]:
        yield Remark(
            WARNING,
            f"the voltage at rest is {np.median(rest):.4g} mV. Expected between {_RESTING[0]:g} and "
            f"{_RESTING[1]:g} mV. Check the unit (units: {{V: …}}), the offset of the amplifier, and that "
            "the cell was alive.",
        )
    if abs(found.drift) > _DRIFT or np.ptp(rest) > 2 * _DRIFT:
        yield Remark(
            WARNING,
            f"the voltage at rest drifts: between {rest.min():.4g} and {rest.max():.4g} mV"
            + (
                f", {found.drift:+.2g} mV from the first sweep to the last"
                if np.isfinite(found.drift)
                else ""
            )
            + ". One set of parameters cannot follow that: choose sweeps that agree (sweeps).",
        )


def _on_membrane(found: Inspection) -> Iterator[Remark]:
    unit = found.recording.units["stimulus"]
    slope, relaxation = found.slope, found.relaxation
    name = "GΩ" if unit == "pA" else "kΩ·cm²"
    if slope is not None:
        least, most = _RESISTANCES.get(unit, (0.0, np.inf))
        largest = np.abs(slope.levels - found.holding).max()
        moved = np.ptp(slope.voltages)
        if largest > 0 and moved < max(3 * found.noise, 0.1):
            yield Remark(
                WARNING,
                f"the voltage moves by {_short(moved)} mV under steps of up to {largest:.3g} {unit}: it does "
                "not seem to be the response to this stimulus. Check the channels (columns) and the order of "
                "the sweeps.",
            )
        elif slope.value <= 0:
            yield Remark(
                WARNING,
                f"the voltage falls as the current rises ({slope.value:.3g} {name}). Expected the opposite. "
                "Check the sign of the stimulus and the order of the sweeps.",
            )
        elif not least <= slope.value <= most:
            yield Remark(
                WARNING,
                f"the input resistance comes out as {slope.value:.3g} {name}. Expected {least:g} to {most:g} "
                f"{name}. Check the units of the stimulus and of the voltage (units: {{stimulus: …, V: …}}).",
            )
        elif slope.r2 < 0.9:
            yield Remark(
                NOTE,
                f"The steady voltage is no straight line of the current (R² {slope.r2:.2f}): the input "
                "resistance is an average, and so are the capacitance and the area that follow from it.",
            )
    if relaxation is None:
        return
    whole = relaxation.time[-1]
    if whole < 3 * relaxation.tau:
        yield Remark(
            WARNING,
            f"steps of {whole:.4g} ms are short beside the time constant of {relaxation.tau:.3g} ms: the "
            "voltage is not steady at their end, and the input resistance comes out too small.",
        )
    deflection = np.median(relaxation.trace[-max(1, relaxation.trace.size // 5) :]) - relaxation.rest
    current = relaxation.level - found.holding
    if relaxation.jump * deflection > 0 and 0.15 * abs(deflection) < abs(relaxation.jump) and current:
        series = relaxation.jump / current
        spelt = f"{_short(1000 * series)} MΩ" if unit == "pA" else f"{_short(series)} {name}"
        remedy = f": preparation: {{bridge: {_short(1000 * series)}}}" if unit == "pA" else ""
        yield Remark(
            WARNING,
            f"at the onset of steps the voltage jumps by {_short(relaxation.jump)} mV before it relaxes, as "
            f"with {spelt} in series that the bridge does not balance. If that is the electrode, subtract "
            f"it{remedy}.",
        )


def _on_spikes(found: Inspection, sweeps: list[SweepFindings]) -> Iterator[Remark]:
    firing = [sweep for sweep in sweeps if sweep.spikes_within and np.isfinite(sweep.level)]
    if found.spiking and found.interval > 0.1:
        yield Remark(
            WARNING,
            f"there are spikes, and a sample every {found.interval:.3g} ms only: their peaks are cut off at "
            "random. Fit their times rather than their shapes, or record at 20 kHz.",
        )
    if firing:
        least = min(sweep.level for sweep in firing)
        silent = [sweep for sweep in sweeps if sweep.level > 1.2 * least > 0 and not sweep.spikes_within]
        if silent:
            yield Remark(
                WARNING,
                f"{_named(silent)}: no spike, though a smaller stimulus ({least:.3g}) gives some. The cell "
                "may be in depolarisation block or lost: look at the traces, and leave out what is no longer "
                "the cell.",
            )
    spontaneous = [sweep for sweep in sweeps if sweep.spikes.size and not sweep.steps]
    if spontaneous:
        yield Remark(NOTE, f"{_named(spontaneous)}: spikes without a step: the cell is spontaneously active.")
    plateaus = [sweep.plateau for sweep in sweeps if np.isfinite(sweep.plateau)]
    if not found.spiking and max(plateaus, default=-np.inf) > -35:
        yield Remark(
            NOTE,
            f"No spikes, though the voltage is held as high as {max(plateaus):.3g} mV: a graded neuron, or "
            "sodium channels that are blocked.",
        )
