"""The configuration of a run: read, checked before any job starts, and complete.

`load` reads a file and `from_mapping` takes a mapping that is loaded already (by Snakemake). Both
collect every problem, in the schema, between keys, in the files named and in the model, and raise
one `ConfigError` with a line for each. What they return has every default filled in.

``python -m odynn.config`` writes the tables of every key; with a file, between the two marks in it.
"""

import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from odynn.config.experiments import check_shape, complete_experiments
from odynn.config.keys import complete, schema, tables
from odynn.config.problems import clean, dotted, find_problems
from odynn.config.reading import read_yaml
from odynn.errors import ConfigError, did_you_mean, listed

_SIMULATE = ("model", "solver", "dt", "precision", "device", "loss", "parameters", "starts.seed")

# The keys of an experiment that each stage reads; "" is the whole experiment. A stage runs again
# when one of its keys changes, so none may be here that the stage does not read.
STAGE_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "make_target": ("model", "solver", "dt", "initial_state", "target"),
        "get_random": ("model", "parameters", "starts.seed", "starts.design", "starts.regression"),
        "simulate_starts": _SIMULATE,
        "fit": (*_SIMULATE, "starts.pool", "fit"),
        "merge_fits": (
            "model",
            "solver",
            "dt",
            "precision",
            "initial_state",
            "target",
            "parameters",
            "starts",
            "loss",
            "fit",
        ),
        "simulate_best": ("model", "solver", "dt", "precision", "device", "best"),
        "uncertainty": ("model", "solver", "dt", "device", "loss", "uncertainty"),
        "plot_results": ("best", "loss", "plot"),
        "report": ("",),
    }
)

# Keys that a stage reads besides, but only with certain settings of the experiment: starts are drawn anew
# for another number of them where, and only where, they depend on it.
_READ_IF: Mapping[str, Mapping[str, Callable[[Mapping], bool]]] = MappingProxyType(
    {
        "get_random": {
            "starts.number": lambda settings: settings["starts"]["design"] == "latin_hypercube",
            "initial_state": lambda settings: settings["initial_state"] == "fitted",
            "solver": lambda settings: settings["starts"]["regression"],
        }
    }
)

_FEWEST = "experiments: {NAME: {model: celegans, dt: 0.5, target: {file: data.csv, area: 65.89}}}"
BEGIN = "<!-- begin of the tables that `python -m odynn.config config/README.md` writes -->"
END = "<!-- end of the tables -->"


@dataclass(frozen=True)
class Config:
    """A checked configuration.

    Attributes:
        results: folder of all outputs.
        experiments: name to its complete settings, plain values only; files and models are given
            relative to the working directory where the two share a folder, else absolute.
    """

    results: Path
    experiments: Mapping[str, dict]

    def settings(self, experiment: str, stage: str) -> dict:
        """Return the settings of an experiment that a stage reads, as a new plain dict.

        Args:
            experiment: name of an experiment.
            stage: name of a stage, a key of `STAGE_KEYS`.

        Raises:
            ConfigError: there is no such experiment or stage.
        """
        whole = self._experiment(experiment)
        if stage not in STAGE_KEYS:
            raise ConfigError(
                f"stage: expected one of {listed(STAGE_KEYS)}. Received: {stage!r}."
                + did_you_mean(stage, STAGE_KEYS)
            )
        narrow: dict = {}
        more = [key for key, reads in _READ_IF.get(stage, {}).items() if reads(whole)]
        for key in (*STAGE_KEYS[stage], *more):
            if not key:
                return deepcopy(whole)
            *folders, last = key.split(".")
            source, place = whole, narrow
            for folder in folders:
                source, place = source[folder], place.setdefault(folder, {})
            place[last] = deepcopy(source[last])
        return narrow

    def shards(self, experiment: str) -> list[str]:
        """Return the names of the shards of an experiment: their first and last start, inclusive.

        Raises:
            ConfigError: there is no such experiment.

        >>> starts = {"starts": {"number": 40, "shard_size": 32}}
        >>> Config(Path("results"), {"aiy": starts}).shards("aiy")
        ['000000-000031', '000032-000039']
        """
        starts = self._experiment(experiment)["starts"]
        number, size = starts["number"], starts["shard_size"]
        return [f"{first:06d}-{min(first + size, number) - 1:06d}" for first in range(0, number, size)]

    def _experiment(self, name: str) -> dict:
        if name not in self.experiments:
            raise ConfigError(
                f"experiment: expected one of {listed(self.experiments)}. Received: {name!r}."
                + did_you_mean(name, self.experiments)
            )
        return self.experiments[name]


def load(path: str | os.PathLike, *, check_recordings: bool = True) -> Config:
    """Read and check a configuration file.

    Args:
        path: a YAML file.
        check_recordings: also look into the recordings that it names.

    Raises:
        ConfigError: the file cannot be read, or has problems; the message lists all of them.
    """
    path = Path(path)
    return from_mapping(read_yaml(path), path.parent, str(path), check_recordings=check_recordings)


def from_mapping(
    raw: Mapping, folder: str | os.PathLike, name: str, *, check_recordings: bool = True
) -> Config:
    """Check a configuration that has been loaded already.

    Args:
        raw: content of a configuration file; not changed.
        folder: folder that the files named in it are relative to: that of the configuration file.
        name: name of the configuration file, for messages.
        check_recordings: also look into the recordings (each once, however many experiments share
            it). False saves the time in jobs that are sure of them.

    Raises:
        ConfigError: there are problems; the message lists all of them, one a line.
    """
    if not raw:
        raise ConfigError(f"{name}: the file is empty. Expected at least: {_FEWEST}.")
    plain, problems = clean(raw)
    if isinstance(plain, dict) and not problems:
        problems += check_shape(plain)
        experiments, found = complete_experiments(plain, Path(folder), check_recordings, problems)
        problems += found
    else:
        problems += find_problems(schema(), plain)
    if problems:
        places = [f"{name}: {dotted(path)}: " if path else f"{name}: " for path, _ in problems]
        lines = dict.fromkeys(place + text for place, (_, text) in zip(places, problems, strict=True))
        raise ConfigError("\n".join(lines))
    top = {"properties": {"results": schema()["properties"]["results"]}}
    return Config(Path(complete(top, plain)[0]["results"]), MappingProxyType(experiments))


def reference() -> str:
    """Return the part of ``config/README.md`` that is made from the schema, with the marks around it."""
    return f"{BEGIN}\n\n{tables()}\n\n{END}\n"
