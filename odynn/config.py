"""The configuration of a run: read, checked before any job starts, and complete.

`load` reads a file and `from_mapping` takes a mapping that is loaded already (by Snakemake). Both
collect every problem, in the schema, between keys, in the files named and in the model, and raise
one `ConfigError` with a line for each. What they return has every default filled in.

``python -m odynn.config`` writes the tables of every key; with a file, between the two marks in it.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from odynn.config_checks import find_conflicts, locate_files
from odynn.config_problems import Problem, clean, dotted, find_problems, missing
from odynn.config_schema import complete, experiment_schema, schema, tables
from odynn.config_yaml import read_yaml
from odynn.errors import ConfigError, OdynnError, did_you_mean, listed

_SIMULATE = ("model", "solver", "dt", "precision", "loss", "parameters", "starts.seed")

# The keys of an experiment that each stage reads; "" is the whole experiment. A stage runs again
# when one of its keys changes, so none may be here that the stage does not read.
STAGE_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "make_target": ("model", "solver", "dt", "initial_state", "target"),
        "get_random": ("model", "parameters", "starts.number", "starts.seed"),
        "simulate_starts": _SIMULATE,
        "fit": (*_SIMULATE, "fit"),
        "merge_fits": ("",),
        "simulate_best": ("model", "solver", "dt", "precision", "best"),
        "plot_results": ("model", "plot"),
        "report": ("",),
    }
)

_FEWEST = "experiments: {NAME: {model: celegans, dt: 0.5, target: {file: data.csv, area: 65.89}}}"
_BEGIN = "<!-- begin of the tables that `python -m odynn.config config/README.md` writes -->"
_END = "<!-- end of the tables -->"


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
        for key in STAGE_KEYS[stage]:
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
        problems += _check_shape(plain)
        experiments, found = _complete_experiments(plain, Path(folder), check_recordings, problems)
        problems += found
    else:
        problems += find_problems(schema(), plain)
    if problems:
        places = [f"{name}: {dotted(path)}: " if path else f"{name}: " for path, _ in problems]
        lines = dict.fromkeys(place + text for place, (_, text) in zip(places, problems, strict=True))
        raise ConfigError("\n".join(lines))
    top = {"properties": {"results": schema()["properties"]["results"]}}
    return Config(Path(complete(top, plain)[0]["results"]), MappingProxyType(experiments))


def _check_shape(plain: dict) -> list[Problem]:
    """Return what is wrong with a file as it is written, before defaults are merged."""
    targets = [("defaults", "target")]
    experiments = plain.get("experiments")
    experiments = experiments if isinstance(experiments, dict) else {}
    targets += [("experiments", name, "target") for name in experiments]
    problems = []
    for path in targets:
        place = plain
        for key in path:
            place = place.get(key) if isinstance(place, dict) else None
        problems += [Problem(path, text) for text in _both_kinds(place)]
    both = {problem.path for problem in problems}
    # Of a target that is both kinds, the keys of one kind are unknown to the other: said already.
    problems += [found for found in find_problems(schema(), plain) if found.path[:-1] not in both]
    first: dict[str, str] = {}
    for name in experiments:
        other = first.setdefault(name.lower(), name)
        if other != name:
            text = f"differs from '{other}' in capitals only, which is one folder on some disks. Rename one."
            problems.append(Problem(("experiments", name), text))
    return problems


def _both_kinds(target: object) -> list[str]:
    if not isinstance(target, dict) or "synthetic" not in target or len(target) == 1:
        return []
    others = listed(f"`{key}`" for key in target if key != "synthetic")
    return [
        "a target is either a recording (`file` and what belongs to it) or `synthetic`, not both. "
        f"Received: `synthetic` beside {others}. Remove one of the two; keys of a synthetic target are "
        "indented below `synthetic`."
    ]


def _complete_experiments(
    plain: dict, folder: Path, check_recordings: bool, problems: list[Problem]
) -> tuple[dict[str, dict], list[Problem]]:
    """Return the complete settings of the experiments that have no problem yet, and their problems."""
    experiments: dict[str, dict] = {}
    found: list[Problem] = []
    seen: dict[str, list[str]] = {}

    def preflight(target: dict, dt: float) -> list[str]:
        from odynn.recordings import preflight

        key = json.dumps([target, dt])
        if key not in seen:
            seen[key] = _ask(preflight, target, dt)
        return seen[key]

    given = plain.get("experiments")
    for name, settings in given.items() if isinstance(given, dict) else ():
        path = ("experiments", name)
        if not any(problem.path[:2] == path or problem.path[:1] == ("defaults",) for problem in problems):
            merged = _merge_experiment(plain.get("defaults", {}), settings)
            settings, wrong = _check_experiment(merged, folder, preflight if check_recordings else None)
            experiments[name] = settings
            found += [Problem(path + problem.path, problem.text) for problem in wrong]
    return experiments, found


def _merge_experiment(defaults: dict, settings: dict) -> dict:
    """Return the settings over the defaults, mapping by mapping; lists and values replace.

    A target of one kind does not inherit from a target of the other.
    """
    defaults = deepcopy(defaults)
    theirs, ours = defaults.get("target", {}), settings.get("target", {})
    if ("file" in ours and "synthetic" in theirs) or ("synthetic" in ours and "synthetic" not in theirs):
        defaults["target"] = {}
    return _merge(defaults, settings)


def _merge(base: object, over: object) -> object:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return deepcopy(over)
    return base | {key: _merge(base.get(key), value) for key, value in over.items()}


def _check_experiment(
    merged: dict, folder: Path, preflight: Callable[[dict, float], list[str]] | None
) -> tuple[dict, list[Problem]]:
    """Return the complete settings of one experiment and what is wrong in them."""
    problems = [Problem(("target",), text) for text in _both_kinds(merged.get("target"))]
    problems = problems or find_problems(experiment_schema(), merged)
    if problems:
        return merged, problems
    settings, absent = complete(experiment_schema(), merged)
    for path, node in absent:
        if path == ("target", "file"):
            problems.append(
                Problem(path[:1], "neither `file` (a recording) nor `synthetic` is given. Add one.")
            )
        else:
            problems.append(missing(path, node))
    if problems:
        return settings, problems
    problems += [Problem(path, text) for path, text in find_conflicts(settings)]
    # Asking for the best 5 of 3 starts is no mistake: the key means "at most".
    settings["best"]["number"] = min(settings["best"]["number"], settings["starts"]["number"])
    problems += [Problem(path, text) for path, text in locate_files(settings, folder)]
    if problems:
        return settings, problems

    from odynn.models import check_experiment

    problems += [_place((), settings, text) for text in _ask(check_experiment, settings)]
    if preflight is not None and "file" in settings["target"]:
        texts = preflight(settings["target"], settings["dt"])
        problems += [_place(("target",), settings["target"], text) for text in texts]
    return settings, problems


def _ask(check: Callable[..., list[str]], settings: dict, *others: object) -> list[str]:
    """Return the problems that another module finds; one that it raises must not hide the others."""
    try:
        return check(deepcopy(settings), *others)
    except OdynnError as error:
        return [str(error)]


def _place(path: tuple, keys: Mapping, text: str) -> Problem:
    """Return a problem said by another module, which may begin with ``key.key: ``."""
    key, colon, rest = text.partition(": ")
    if colon and re.match(r"\w+", key) and re.split(r"[.\[]", key)[0] in keys and " " not in key:
        return Problem((*path, key), rest)
    return Problem(path, text)


def reference() -> str:
    """Return the part of ``config/README.md`` that is made from the schema, with the marks around it."""
    return f"{_BEGIN}\n\n{tables()}\n\n{_END}\n"


def main(arguments: list[str]) -> int:
    """Write the tables of every key to standard output, or between the two marks in a file."""
    if not arguments:
        sys.stdout.write(reference())
        return 0
    path = Path(arguments[0])
    before, begin, rest = path.read_text("utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END + "\n")
    if not begin or not end:
        sys.stderr.write(
            f"{path}: expected the two lines {_BEGIN} and {_END}. Add them where the tables go.\n"
        )
        return 1
    path.write_text(before + reference() + after, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
