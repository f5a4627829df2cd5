"""Reader of text tables: commas, semicolons, tabs or blanks between the cells, one column a trace."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from odynn.errors import RecordingError, did_you_mean, listed
from odynn.recordings.channels import CHANNELS, RESPONSES, Contents, Header, find_one, parse_header

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_LARGEST = 2**30
"""Bytes of the largest table that is read; text takes several times its size in memory."""

# Said to pandas in full, so that what is a gap does not change with its version.
_GAPS = ["", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "null"]
_NUMBER = re.compile(r"\s*[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|inf(inity)?)\s*", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_HEADERS = "headers such as time_ms, stimulus_pA_0, voltage_mV_0 (quantity, unit, number of the sweep)"


@dataclass(frozen=True)
class _Table:
    """The text of a table; ``rows`` are the numbers of its lines in the file."""

    path: Path
    separator: str
    names: list[str]
    rows: list[int]
    lines: list[str]


def read(path: Path, columns: Mapping[str, str] | None, sweeps: Sequence[int] | None = None) -> Contents:
    """Read a text table.

    The first line names the columns. They are recognised by ``<quantity>_<unit>_<sweep>``, or given
    by ``columns``; others are left out. Lines before it that begin with # are comments. In a table
    without headers the columns are called 0, 1, 2 …, and ``columns`` must say what they are.

    Args:
        path: the file.
        columns: channel to header, ``{sweep}`` standing for the number of the sweep.
        sweeps: all are read.

    Returns:
        The traces, NaN where a cell is empty.

    Raises:
        RecordingError: not a text table, or a cell that is not a number.
    """
    text, encoding = _decode(path)
    lines = enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1)
    # Rows are numbered as in an editor: the first line of the file is row 1.
    filled = [(row, line) for row, line in lines if line.strip()]
    while filled and filled[0][1].startswith("#"):
        del filled[0]
    if not filled:
        raise RecordingError(
            f"{path}: expected {_HEADERS}, and a row a sample. Received: an empty file. Export it again."
        )
    try:
        filled = _tabulated(filled)
        separator, names, headed = _split_header(path, *filled[0], columns)
        headers = _find_columns(path, names, columns or {})
        chosen = {channel: find_one(headers, channel, str(path)) for channel in CHANNELS}
        filled = filled[headed:]
        table = _Table(path, separator, names, [row for row, _ in filled], [line for _, line in filled])
        _check_widths(table)
        traces = _numbers(table, [name for group in chosen.values() for name in group])
    except csv.Error as error:
        raise RecordingError(
            f"{path}: expected a text table. Received: one that cannot be split into cells ({error}). "
            "Export it again."
        ) from None
    return _contents(table, chosen, traces, encoding)


def _tabulated(filled: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the lines with a tab for every run of blanks, if nothing else separates their cells."""
    first = filled[0][1]
    if any(separator in first for separator in SEPARATORS) or len(first.split()) < 2:
        return filled
    if not all(_NUMBER.fullmatch(cell) for cell in first.split()):
        return filled
    return [(row, "\t".join(line.split())) for row, line in filled]


def _decode(path: Path) -> tuple[str, str]:
    with path.open("rb") as file:
        head = file.read(65536)
    if head.startswith(b"\x89HDF"):
        raise RecordingError(
            f"{path}: expected a text table. Received: an HDF5 file. Say format: hdf5, or name it .h5."
        )
    if head and not any(head):
        raise RecordingError(
            f"{path}, row 1: expected a text table. Received: zeros, as in a file that was never written. "
            "Copy or "
            "export it again."
        )
    size = path.stat().st_size
    if size > _LARGEST:
        raise RecordingError(
            f"{path}: expected a text table of at most {_LARGEST / 2**30:g} GiB. Received: "
            f"{size / 2**30:.1f} GiB. "
            "Export it as HDF5, or cut it into files of some sweeps each."
        )
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or data[:2000].count(0) > len(data[:2000]) // 3 > 0:
        raise RecordingError(
            f"{path}: expected text in UTF-8. Received: what looks like UTF-16. Save it again as CSV (UTF-8)."
        )
    junk = _CONTROL.search(data)
    if junk:
        line = data.count(b"\n", 0, junk.start()) + 1
        raise RecordingError(
            f"{path}, row {line}: expected a text table. Received: the byte "
            f"{junk.group()[0]:#04x}, which no text has. The file is binary or damaged: give its own "
            "format, or export it as CSV again."
        )
    try:
        return data.decode("utf-8-sig"), "utf-8"
    except UnicodeDecodeError:
        # What spreadsheets on Windows write; µ is the one letter that matters here.
        return data.decode("latin-1"), "latin-1"


def _split_header(
    path: Path, row: int, line: str, columns: Mapping[str, str] | None
) -> tuple[str, list[str], bool]:
    """Return the separator, the names of the columns, and whether the first line holds them."""
    separator = max(SEPARATORS, key=line.count)
    if separator not in line:
        raise RecordingError(
            f"{path}, row {row}: expected columns separated by comma, semicolon or tab. "
            f"Received: '{_short(line)}'. Export the table with one of them."
        )
    names = [name.strip() for name in _cells(line, separator)]
    if all(_NUMBER.fullmatch(name) or not name for name in names):
        if columns:
            return separator, [str(place) for place in range(len(names))], False
        raise RecordingError(
            f"{path}, row {row}: the first row must name the columns. Expected {_HEADERS}. "
            f"Received: numbers, '{_short(line)}'. Add a row of headers, or say what the columns 0, 1 … "
            "are, as "
            "in columns: {V: '{sweep}'}."
        )
    return separator, names, True


def _find_columns(path: Path, names: list[str], columns: Mapping[str, str]) -> dict[str, Header]:
    """Return what each column of use holds: as ``columns`` says, else as its header says."""
    headers = {}
    for channel, pattern in columns.items():
        expression = re.escape(pattern.strip()).replace(r"\{sweep\}", r"(?P<sweep>\d+)", 1)
        matches = {name: match for name in names if (match := re.fullmatch(expression, name))}
        if "{sweep}" in pattern:
            others = {said for key, said in columns.items() if key != channel}
            matches = {name: match for name, match in matches.items() if name not in others}
        if not matches:
            raise RecordingError(
                f"columns.{channel}: '{pattern}' names no column of {path}. Expected one of "
                f"{listed(names)}, with {{sweep}} for the number of a sweep. Received: '{pattern}'."
                f"{did_you_mean(pattern.replace('{sweep}', '0'), names)} Correct it."
            )
        for name, match in matches.items():
            if name in headers:
                raise RecordingError(
                    f"columns.{channel}: expected a column for each channel. Received: '{name}', which "
                    f"columns.{headers[name].channel} takes too. Correct one of the two."
                )
            said = parse_header(name)
            sweep = match.groupdict().get("sweep")
            headers[name] = Header(
                channel, "", said.unit if said else None, None if sweep is None else int(sweep)
            )
    for name in names:
        said = parse_header(name)
        if said and said.channel not in columns and name not in headers:
            headers[name] = said
    twice = [name for name in headers if names.count(name) > 1]
    if twice:
        raise RecordingError(
            f"{path}: expected every header once. Received: '{twice[0]}' {names.count(twice[0])} times. "
            "Number the sweeps, as in voltage_mV_0, voltage_mV_1."
        )
    return headers


def _check_widths(table: _Table) -> None:
    """Check that every row has as many cells as there are headers."""
    expected, separator = len(table.names), table.separator
    quoted = any('"' in line for line in table.lines)
    for at, line in enumerate(table.lines):
        width = len(_cells(line, separator)) if quoted else line.count(separator) + 1
        if width == expected:
            continue
        remedy = "Correct the row."
        if separator == "," and width > expected:
            remedy = "If it has decimal commas, write decimal points."
        elif at == len(table.lines) - 1:
            remedy = "It is the last row: the file may be cut short. Export it again, or remove the row."
        raise RecordingError(
            f"{table.path}, row {table.rows[at]}: expected {expected} cells, as in the row of headers. "
            f"Received: {width}. {remedy}"
        )


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator))


def _numbers(table: _Table, wanted: list[str]) -> dict[str, np.ndarray]:
    """Return the wanted columns as float64 arrays."""
    if not table.lines:
        raise RecordingError(
            f"{table.path}: expected a row a sample below the headers. Received: none. Export it again."
        )
    if not wanted:
        return {}
    import pandas as pd

    text = "\n".join(table.lines)
    places = sorted(table.names.index(name) for name in wanted)
    try:
        if re.search("true|false", text, re.IGNORECASE):
            raise ValueError("it has words")  # pandas would take True for 1
        frame = pd.read_csv(
            io.StringIO(text),
            sep=table.separator,
            header=None,
            usecols=places,
            dtype=np.float64,
            na_values=_GAPS,
            keep_default_na=False,
        )
    except (ValueError, OverflowError) as error:  # the errors of pandas' parser are ValueErrors
        problem = _find_text(table, places)
        if not problem:
            problem = (
                f": expected a table of numbers. Received: {str(error).splitlines()[0]}. Export it again."
            )
        raise RecordingError(f"{table.path}{problem}") from None
    return {name: frame[table.names.index(name)].to_numpy() for name in wanted}


def _find_text(table: _Table, places: list[int]) -> str:
    """Say what is wrong with the first cell that is not a number."""
    for at, line in enumerate(table.lines):
        cells = _cells(line, table.separator)
        for place in places:
            cell = cells[place]
            if _NUMBER.fullmatch(cell) or cell.strip() in _GAPS:
                continue
            remedy = "Correct the cell."
            if _DECIMAL_COMMA.fullmatch(cell):
                remedy = "Write decimal points, not commas."
            elif at == 0 and not any(_NUMBER.fullmatch(other) for other in cells):
                remedy = (
                    "If this is a second row of headers, put units into the first (voltage_mV) and remove it."
                )
            return (
                f", row {table.rows[at]}, column {table.names[place]}: expected a number. "
                f"Received: '{_short(cell)}'. {remedy}"
            )
    return ""


def _contents(
    table: _Table, chosen: dict[str, dict[str, Header]], traces: dict[str, np.ndarray], encoding: str
) -> Contents:
    """Put the columns of each channel side by side, by sweep."""
    numbers = {
        channel: {header.sweep: traces[name] for name, header in group.items()}
        for channel, group in chosen.items()
    }
    times = list(numbers["time"].values())
    if any(not np.array_equal(time, times[0], equal_nan=True) for time in times):
        raise RecordingError(
            f"{table.path}: every sweep must have the same times. Received: columns "
            f"{listed(chosen['time'])}, which differ. Give one time column, and make a file of each group "
            "of sweeps that share their times."
        )
    responses = {channel: numbers[channel] for channel in RESPONSES if numbers[channel]}
    stimulus = numbers["stimulus"]
    # A column without a number in a file of several sweeps holds for all of them.
    shared = None in stimulus and len(stimulus) == 1
    sweeps = sorted({-1 if sweep is None else sweep for trace in responses.values() for sweep in trace})
    for channel, group in [*responses.items(), *([] if shared or not stimulus else [("stimulus", stimulus)])]:
        has = sorted(-1 if sweep is None else sweep for sweep in group)
        if responses and has != sweeps:
            odd = sorted(set(has) ^ set(sweeps))
            raise RecordingError(
                f"{table.path}: every sweep must have a stimulus and "
                f"{' and '.join(CHANNELS[name].meaning for name in responses)}. Received: "
                f"{CHANNELS[channel].meaning} in {_numbered(has)}, but not the same "
                f"sweeps elsewhere (they differ in {_numbered(odd)}). Name the columns alike."
            )
    ignored = [name for name in table.names if name and name not in traces]
    notes = {"encoding": encoding} if encoding != "utf-8" else {}
    if ignored:
        notes["columns left out"] = listed(ignored)
    units = {
        channel: header.unit for channel, group in chosen.items() for header in group.values() if header.unit
    }
    return Contents(
        time=times[0] if times else None,
        stimulus=_side_by_side(stimulus) if stimulus else None,
        responses={channel: _side_by_side(group) for channel, group in responses.items()},
        units=units,
        sweeps=[max(sweep, 0) for sweep in sweeps] or None,
        found=table.names,
        rows=np.array(table.rows, dtype=int),
        notes=notes,
    )


def _side_by_side(group: dict[int | None, np.ndarray]) -> np.ndarray:
    if None in group:
        return group[None]
    return np.stack([group[sweep] for sweep in sorted(group)], axis=1)


def _numbered(sweeps: list[int]) -> str:
    return "sweeps " + listed("without a number" if sweep < 0 else sweep for sweep in sweeps)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"
