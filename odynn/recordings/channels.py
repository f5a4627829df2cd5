"""What a recording is made of: its channels, the names they go by, and what a reader hands over."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from odynn import units
from odynn.errors import RecordingError, did_you_mean, listed


@dataclass(frozen=True)
class Channel:
    """One kind of trace.

    Attributes:
        meaning: what it is, for messages.
        aliases: the names that files give it, in lower case; the first one goes before the others.
        accepted: units of each dimension that it can have; the first is the example in messages.
    """

    meaning: str
    aliases: tuple[str, ...]
    accepted: tuple[str, ...]


CHANNELS = {
    "time": Channel("the time", ("time", "t"), ("ms",)),
    "stimulus": Channel(
        "the stimulus",
        ("stimulus", "current", "i_inj", "i", "command", "stim", "i_stim", "injected_current"),
        ("pA", units.DENSITY, "mV"),
    ),
    "V": Channel(
        "the membrane voltage",
        ("voltage", "v", "vm", "v_m", "membrane_potential", "membrane_voltage", "potential"),
        ("mV",),
    ),
    "Ca": Channel("the calcium trace", ("calcium", "ca", "fluorescence", "df_f", "df/f"), ("uM", "1")),
    "I": Channel(
        "the recorded current",
        ("recorded_current", "membrane_current", "clamp_current", "i_m"),
        ("nA", units.DENSITY),
    ),
}
"""Every channel that a recording can have, by its name in odynn. The responses are named as states."""

RESPONSES = ("V", "Ca", "I")

_ALIASES = sorted(
    ((alias, name) for name, channel in CHANNELS.items() for alias in channel.aliases),
    key=lambda pair: -len(pair[0]),
)
# What follows the name: a unit in brackets or after a separator, and the number of the sweep.
_IN_BRACKETS = re.compile(r"[ _]*(?:\((?P<round>[^()]*)\)|\[(?P<square>[^\[\]]*)\])(?:[ _]*(?P<sweep>\d+))?")
_NUMBER_ONLY = re.compile(r"[ _]+(?P<sweep>\d+)")
_SEPARATED = re.compile(r"[ _]+(?P<unit>\S.*?)(?:[ _]+(?P<sweep>\d+))?")

# What a header has for the / of uA/cm2.
_OVER = re.compile(r"_per_|_(?=[cmuµμ]?m(?:\^|\*\*)?[2²]$)")


class Header(NamedTuple):
    """What the name of a column or dataset says; None: nothing."""

    channel: str
    alias: str
    unit: str | None
    sweep: int | None


@dataclass(frozen=True, eq=False)
class Contents:
    """What a reader found in a file, before anything is checked or converted.

    Attributes:
        time: [time] in the file's unit; None: there is none.
        stimulus: [time, sweep], or [time] for one that all sweeps share; None: there is none.
        responses: channel to [time, sweep] or [time].
        units: unit of each channel for which the file says one, "time" among them.
        sweeps: the numbers of the sweeps; None: they are counted from 0.
        found: names of everything in the file, for messages.
        rows: [time] the line of the file of each sample, where it has lines.
        resolution: how finely the file's type stores times, in the file's unit; 0: as finely as float64.
        notes: what the reader did that a user may want to know; goes into the source.
        labels: what the file calls each sweep.
        metadata: what the file says of the cell and the experiment.
    """

    time: np.ndarray | None
    stimulus: np.ndarray | None
    responses: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    sweeps: Sequence[int] | None = None
    found: Sequence[str] = ()
    rows: np.ndarray | None = None
    resolution: float = 0.0
    notes: Mapping[str, str] = field(default_factory=dict)
    labels: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)


def parse_header(text: str) -> Header | None:
    """Return what a name such as ``voltage_mV_3`` says, or None if it names no channel.

    >>> parse_header("voltage_mV_3")
    Header(channel='V', alias='voltage', unit='mV', sweep=3)
    >>> parse_header("I (pA)")
    Header(channel='stimulus', alias='i', unit='pA', sweep=None)
    >>> parse_header("time_of_day")
    """
    text = text.strip()
    lower = text.lower().replace(" ", "_")
    for alias, channel in _ALIASES:
        if not lower.startswith(alias):
            continue
        rest = text[len(alias) :]
        if not rest:
            return Header(channel, alias, _own_unit(alias), None)
        for pattern in (_IN_BRACKETS, _NUMBER_ONLY, _SEPARATED):
            match = pattern.fullmatch(rest)
            if match:
                header = _from_match(channel, alias, match.groupdict())
                if header:
                    return header
                break
    return None


def _from_match(channel: str, alias: str, groups: dict) -> Header | None:
    sweep = None if groups["sweep"] is None else int(groups["sweep"])
    unit = groups.get("round") or groups.get("square") or groups.get("unit")
    if unit is None:
        return Header(channel, alias, _own_unit(alias), sweep)
    unit = _OVER.sub("/", unit)
    # A unit in the wrong letters is a column to complain about; anything else is another column.
    if units.is_known_but_for_case(unit):
        return Header(channel, alias, unit, sweep)
    return None


def _own_unit(alias: str) -> str | None:
    """Return the unit that a name implies: a relative fluorescence is a pure number."""
    return "1" if alias.startswith("df") else None


def check_keys(mapping: Mapping[str, str] | None, what: str) -> list[str]:
    """Return what is wrong with the keys of ``columns`` or ``units``."""
    problems = []
    for key in mapping or {}:
        if key not in CHANNELS:
            header = parse_header(key)
            hint = f" Did you mean '{header.channel}'?" if header else did_you_mean(key, CHANNELS)
            problems.append(
                f"{what}: expected keys among {listed(CHANNELS)}. Received: '{key}'.{hint} Correct it."
            )
    return problems


def find_one(headers: Mapping[str, Header], channel: str, where: str) -> dict[str, Header]:
    """Return the columns or datasets of one channel, by name.

    The channel's own name goes before its aliases; of two aliases neither does.

    Args:
        headers: name to what it says.
        channel: key of ``CHANNELS``.
        where: the file, for the message.

    Raises:
        RecordingError: two aliases, two units, or two columns for one sweep.
    """
    headers = _with_recorded_current(headers)
    matches = {name: header for name, header in headers.items() if header.channel == channel}
    first = CHANNELS[channel].aliases[0]
    if any(header.alias == first for header in matches.values()):
        matches = {name: header for name, header in matches.items() if header.alias == first}
    for entry in ("alias", "unit"):
        values = {getattr(header, entry) for header in matches.values()}
        if len(values) > 1:
            raise RecordingError(
                f"{where}: expected one {'name' if entry == 'alias' else 'unit'} for "
                f"{CHANNELS[channel].meaning} in every sweep. Received: {listed(matches)}. "
                f"Say which is meant with columns: {{{channel}: …}}."
            )
    sweeps = [header.sweep for header in matches.values()]
    if len(set(sweeps)) < len(sweeps) or (None in sweeps and len(sweeps) > 1):
        raise RecordingError(
            f"{where}: expected {CHANNELS[channel].meaning} once a sweep. Received: {listed(matches)}. "
            f"Number the sweeps, or say which is meant with columns: {{{channel}: …}}."
        )
    return matches


def _with_recorded_current(headers: Mapping[str, Header]) -> Mapping[str, Header]:
    """Return the headers, ``current`` being the response beside a stimulus where there is no other."""
    channels = {header.channel for header in headers.values()}
    voltage = any(
        header.channel == "stimulus" and header.alias in ("stimulus", "command", "stim")
        for header in headers.values()
    )
    if not voltage or channels & set(RESPONSES):
        return headers
    return {
        name: header._replace(channel="I") if header.alias in ("current", "i") else header
        for name, header in headers.items()
    }
