"""Reader of Axon Binary Files (ABF 1 and 2), as pClamp writes them: measured channels and commands."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from odynn import units as unit_of
from odynn.errors import RecordingError, did_you_mean, listed
from odynn.recordings.channels import Contents
from odynn.recordings.libraries import check_signature, load_library, reading, version_of

_KIND = "an ABF file"


def read(path: Path, columns: Mapping[str, str] | None, sweeps: Sequence[int] | None) -> Contents:
    """Read an ABF file.

    The response is the measured channel (ADC) in a unit of voltage, or of current in voltage clamp.
    The stimulus is the command waveform of the output (DAC) that has one, on whatever output; or a
    measured channel, if ``columns`` names it.

    Args:
        path: the file.
        columns: channel to the name of a measured channel (``IN 0``) or of an output (``Cmd 0``).
        sweeps: all are read.

    Returns:
        The traces; the time counts from the beginning of each sweep.

    Raises:
        RecordingError: not a whole ABF file, or which channel is meant is not clear.
    """
    check_signature(path, _KIND, (b"ABF ", b"ABF2"))
    _check_counts(path)
    pyabf = load_library(path, _KIND, "pyabf")
    with reading(path, "ABF file", "pyabf"):
        header = pyabf.ABF(str(path), loadData=False)
        _check_extent(path, header)
        file = pyabf.ABF(str(path), cacheStimulusFiles=False)
        inputs = _inputs(file)
        outputs = _outputs(file)
        chosen = _choose(path, file, columns or {}, inputs, outputs)
        traces, units, notes = {}, {}, {}
        for channel, (kind, place) in chosen.items():
            name, unit = (inputs if kind == "input" else outputs)[place]
            take = _measured if kind == "input" else _command
            traces[channel] = take(path, file, place)
            units[channel] = unit
            notes[f"{channel} from"] = f"{'measured' if kind == 'input' else 'command'} {name}"
        interval = _interval(file)
    left_out = [name for name, _ in [*inputs, *outputs] if name not in _names(chosen, inputs, outputs)]
    if left_out:
        notes["channels left out"] = listed(left_out)
    return Contents(
        time=np.arange(file.sweepPointCount) * interval,
        stimulus=traces.pop("stimulus", None),
        responses=traces,
        units={"time": "ms"} | units,
        found=[*(f"{name} ({unit})" for name, unit in [*inputs, *outputs])],
        notes={"library": version_of("pyabf")} | notes,
        metadata={
            key: value
            for key, value in {
                "protocol": file.protocol,
                "comment": file.abfFileComment,
                "date": file.abfDateTimeString,
                "program": file.creator,
            }.items()
            if value and value not in ("None", "ERROR")
        },
    )


def _check_counts(path: Path) -> None:
    """Check that a damaged header claims no more than the file holds: pyabf makes lists as long as that."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith(b"ABF2") and len(start) == 512:
        # The number of sweeps; then of 18 sections where each begins, how large an entry is, how many.
        (sweeps,) = struct.unpack_from("<I", start, 12)
        sections = [struct.unpack_from("<IIq", start, 76 + 16 * place) for place in range(18)]
        most = max(entry * number if number >= 0 else size + 1 for _, entry, number in sections)
        fewest = max((number for _, entry, number in sections if entry == 0), default=0)
        most = max(most, fewest)
    else:
        sweeps, most = struct.unpack_from("<i", start.ljust(20, b"\0"), 16)[0], 0
    if not 0 <= sweeps <= size or most > size:
        raise RecordingError(
            f"{path}, header: expected at least one channel, sweep and sample, and no more than the file of "
            f"{size} bytes can hold. Received: {sweeps} sweeps and parts of up to {most} bytes. The file is "
            "damaged: copy it again."
        )


def _check_extent(path: Path, header) -> None:
    """Check, before any of it is read, that the file is long enough for the samples it claims."""
    needed = header.dataByteStart + header.dataPointCount * header.dataPointByteSize
    size = path.stat().st_size
    if not 0 < header.channelCount <= 64 or not 0 < header.sweepCount <= header.dataPointCount:
        raise RecordingError(
            f"{path}, header: expected at least one channel, sweep and sample. Received: "
            f"{header.channelCount} channels, {header.sweepCount} sweeps and {header.dataPointCount} "
            "samples. "
            "The file is damaged, or the recording was stopped before its first sweep: copy it again, or "
            "give "
            "another."
        )
    if needed > size:
        raise RecordingError(
            f"{path}: expected {needed} bytes, as its header says. Received: {size}; the file is cut short. "
            "Copy it again."
        )
    lengths = set(getattr(getattr(header, "_synchArraySection", None), "lLength", None) or [0])
    if len(lengths) > 1 and header.sweepCount > 1:
        raise RecordingError(
            f"{path}: expected sweeps of one length. Received: lengths from {min(lengths)} to {max(lengths)} "
            "samples. Export the sweeps of one length to a file of their own."
        )


def _interval(file) -> float:
    """Return the sampling interval in ms; pyabf's own rate is cut to a whole number of Hz."""
    if file.abfVersion["major"] == 1:
        microseconds = file._headerV1.fADCSampleInterval * file.channelCount
    else:
        microseconds = file._protocolSection.fADCSequenceInterval
    # It is stored in single precision.
    return float(f"{microseconds:.7g}") / 1000


def _inputs(file) -> list[tuple[str, str]]:
    return [
        (str(name).strip(), str(unit).strip())
        for name, unit in zip(file.adcNames, file.adcUnits, strict=True)
    ]


def _outputs(file) -> list[tuple[str, str]]:
    """Return the name and unit of every output; pyabf lists no more outputs than there are inputs."""
    names, units = file.dacNames, file.dacUnits
    if file.abfVersion["major"] != 1:
        strings, section = file._stringsSection._indexedStrings, file._dacSection
        names = [strings[place] for place in section.lDACChannelNameIndex]
        units = [strings[place] for place in section.lDACChannelUnitsIndex]
    found = []
    for name, unit in zip(names, units, strict=True):
        name, unit = (
            text.decode("latin-1") if isinstance(text, bytes) else str(text) for text in (name, unit)
        )
        found.append((name.strip(" \0"), unit.strip(" \0")))
    return found


def _names(chosen: Mapping, inputs: list, outputs: list) -> set[str]:
    return {(inputs if kind == "input" else outputs)[place][0] for kind, place in chosen.values()}


def _choose(
    path: Path, file, columns: Mapping[str, str], inputs: list, outputs: list
) -> dict[str, tuple[str, int]]:
    """Return what each channel is: ("input" or "output", its place)."""
    chosen: dict[str, tuple[str, int]] = {}
    known = [name for name, _ in [*inputs, *outputs]]
    for channel, wanted in columns.items():
        matches = [("input", place) for place, (name, _) in enumerate(inputs) if name == wanted]
        matches += [("output", place) for place, (name, _) in enumerate(outputs) if name == wanted]
        if not matches:
            raise RecordingError(
                f"columns.{channel}: expected a channel of {path}, which are {listed(known)}. "
                f"Received: '{wanted}'.{did_you_mean(wanted, known)} Correct it."
            )
        chosen[channel] = matches[0]
    taken = set(chosen.values())
    if not set(chosen) - {"stimulus"}:
        free = [(place, unit) for place, (_, unit) in enumerate(inputs) if ("input", place) not in taken]
        for channel, example in (("V", "mV"), ("I", "pA")):
            places = [place for place, unit in free if unit_of.is_like(unit, example)]
            if len(places) > 1:
                raise RecordingError(
                    f"{path}: expected one measured channel in a unit like {example}. Received: "
                    f"{listed(inputs[place][0] for place in places)}. Say which is meant with columns: "
                    f"{{{channel}: {inputs[places[0]][0]}}}."
                )
            if places:
                chosen[channel] = ("input", places[0])
                break
    if "stimulus" not in chosen and set(chosen) & {"V", "I"}:
        example = "pA" if "V" in chosen else "mV"
        places = [place for place, (_, unit) in enumerate(outputs) if unit_of.is_like(unit, example)]
        # An output without a waveform puts out its holding level: it is taken if there is no other.
        places = [place for place in places if _has_waveform(file, place)] or places[:1]
        if len(places) > 1:
            raise RecordingError(
                f"{path}: expected one output that has a command in a unit like {example}. Received: "
                f"{listed(outputs[place][0] for place in places)}. Say which is meant with columns: "
                f"{{stimulus: {outputs[places[0]][0]}}}."
            )
        if places:
            chosen["stimulus"] = ("output", places[0])
    return chosen


def _waveform(file, place: int) -> tuple[int, int]:
    """Return whether an output has a waveform, and its source: 1 the table of epochs, 2 a file."""
    header = file._headerV1 if file.abfVersion["major"] == 1 else file._dacSection
    if place >= len(header.nWaveformEnable):
        return 0, 0
    return header.nWaveformEnable[place], header.nWaveformSource[place]


def _has_waveform(file, place: int) -> bool:
    return all(_waveform(file, place))


def _command(path: Path, file, place: int) -> np.ndarray:
    """Return the command waveform of an output, [time, sweep]."""
    from pyabf.waveform import EpochTable

    shape = (file.sweepPointCount, file.sweepCount)
    if file.abfVersion["major"] == 1:
        # pyabf takes the first epoch's level for the holding level here.
        file.holdingCommand = list(file._headerV1.fInstrumentHoldingLevel)
    if not _has_waveform(file, place):
        return np.full(shape, float(file.holdingCommand[place]))
    problem = ""
    if _waveform(file, place)[1] != 1:
        problem = "a waveform that is kept in another file"
    elif any(np.ravel(file.userListEnable or [0])):
        problem = "a table of epochs that a user list changes from sweep to sweep"
    if not problem:
        rows = [sweep.getWaveform() for sweep in EpochTable(file, place).epochWaveformsBySweep]
        command = np.stack([row[: shape[0]] for row in rows], axis=1)
        if command.shape == shape and np.isfinite(command).all():
            return command
        problem = "epochs longer than the sweep, or of a kind that pyabf does not know"
    raise RecordingError(
        f"{path}, output {place}: expected a command waveform given by a table of epochs. Received: "
        f"{problem}. "
        "Describe the stimulus with protocol: {…}, or name the file that has it with stimulus: {file: …}."
    )


def _measured(path: Path, file, place: int) -> np.ndarray:
    """Return a measured channel, [time, sweep]."""
    length = file.sweepPointCount
    return file.data[place, : length * file.sweepCount].reshape(file.sweepCount, length).T.astype(np.float64)
