"""Reader of Igor binary waves (IBW): one trace a file, or a column a sweep."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from odynn import units as unit_of
from odynn.errors import RecordingError
from odynn.recordings.channels import Contents
from odynn.recordings.libraries import check_signature, load_library, reading, version_of

_KIND = "an Igor binary wave"
# The version, 1 to 5, in either order of bytes.
_VERSIONS = tuple(bytes(pair) for version in (1, 2, 3, 5) for pair in ((version, 0), (0, version)))


def read(path: Path, columns: Mapping[str, str] | None, sweeps: Sequence[int] | None) -> Contents:
    """Read an Igor binary wave.

    A wave is a trace of one sweep, or has a column a sweep. It is the voltage if its unit is one, and
    the stimulus if it is a current; or what ``columns`` says.

    Args:
        path: the file.
        columns: at most one entry, the channel that this wave is.
        sweeps: all are read.

    Returns:
        The one trace.

    Raises:
        RecordingError: not a whole wave of numbers, or what it is cannot be told.
    """
    check_signature(path, _KIND, _VERSIONS)
    binarywave = load_library(path, _KIND, "igor2.binarywave")
    with reading(path, "Igor binary wave", "igor2"):
        wave = binarywave.load(str(path))["wave"]
        header, values = wave["wave_header"], np.asarray(wave["wData"])
        if "nDim" in header:
            step, start = float(header["sfA"][0]), float(header["sfB"][0])
            time_unit = _text(header["dimUnits"][0])
        else:
            step, start = float(header["hsA"]), float(header["hsB"])
            time_unit = _text(header["xUnits"])
        unit, name = _text(header["dataUnits"]), _text(header["bname"])
        note = _text(wave.get("note", b""))
    if values.dtype.kind not in "iuf" or values.ndim not in (1, 2) or values.size == 0:
        raise RecordingError(
            f"{path}: expected a wave of real numbers, [time] or [time, sweep]. Received: {values.dtype} of "
            f"shape {list(values.shape)}. Export the trace alone."
        )
    channel = _find_channel(path, dict(columns or {}), name, unit)
    with np.errstate(invalid="ignore"):  # a damaged sample may be a signalling NaN
        trace = values.astype(np.float64)
    return Contents(
        time=start + step * np.arange(len(trace)) if step > 0 else None,
        stimulus=trace if channel == "stimulus" else None,
        responses={} if channel == "stimulus" else {channel: trace},
        units={key: said for key, said in (("time", time_unit), (channel, unit)) if said},
        found=[f"{name} ({unit or 'no unit'})"],
        notes={"library": version_of("igor2")},
        metadata={"note": note} if note else {},
    )


def _find_channel(path: Path, columns: Mapping[str, str], name: str, unit: str) -> str:
    """Return which channel a wave is."""
    named = [channel for channel, text in columns.items() if text in ("", name)]
    if len(named) == 1:
        return named[0]
    if not columns:
        if unit_of.is_like(unit, "mV"):
            return "V"
        if unit_of.is_like(unit, "pA"):
            return "stimulus"
    raise RecordingError(
        f"{path}: which channel the wave '{name}' is must be known. Expected a unit of voltage or current, "
        "or "
        f"its name in columns. Received: the unit '{unit}' and the columns {dict(columns)}. Name both "
        "files of "
        "a sweep at once, as in file: cell_ch{channel}_{sweep}.ibw with columns: {stimulus: '0', V: '1'}."
    )


def _text(value: object) -> str:
    """Return the text of a field, which igor2 gives as bytes or as an array of letters."""
    data = value.tobytes() if isinstance(value, np.ndarray) else value
    text = data.decode("latin-1") if isinstance(data, bytes) else str(data)
    return " ".join(text.replace("\0", " ").split())
