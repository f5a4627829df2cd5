"""From the experiments of a file as they are written to their complete, checked settings."""

import json
import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path

from odynn.config.checks import find_conflicts, locate_files
from odynn.config.keys import complete, experiment_schema, schema
from odynn.config.problems import Problem, find_problems, missing
from odynn.errors import OdynnError, listed


def check_shape(plain: dict) -> list[Problem]:
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


def complete_experiments(
    plain: dict, folder: Path, check_recordings: bool, problems: list[Problem]
) -> tuple[dict[str, dict], list[Problem]]:
    """Return the complete settings of each experiment, and what is wrong in them.

    Args:
        plain: the whole file.
        folder: that of the configuration file.
        check_recordings: also look into the recordings, each once.
        problems: what is wrong in the file as it is written; its experiments are passed over.
    """
    experiments: dict[str, dict] = {}
    found: list[Problem] = []
    seen: dict[str, list[str]] = {}

    def preflight(target: dict, *others: object) -> list[str]:
        from odynn.recordings import preflight

        key = json.dumps([target, *others])
        if key not in seen:
            seen[key] = _ask(preflight, target, *others)
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
    merged: dict, folder: Path, preflight: Callable[..., list[str]] | None
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
    for key in ("best", "uncertainty"):
        settings[key]["number"] = min(settings[key]["number"], settings["starts"]["number"])
    problems += [Problem(path, text) for path, text in locate_files(settings, folder)]
    concerned = {problem.path[0] for problem in problems}
    if not concerned & {"model", "parameters"}:
        from odynn.models import check_experiment

        problems += [_place((), settings, text) for text in _ask(check_experiment, settings)]
    if not _wrong(problems) & {"model", "target", "loss", "fit"}:
        from odynn.fitting.checks import check_losses, chosen_loss

        settings["loss"] = chosen_loss(settings)
        problems += [_place((), settings, text) for text in _ask(check_losses, settings)]
    if preflight is not None and "file" in settings["target"] and "target" not in concerned:
        texts = preflight(settings["target"], settings["dt"], *_needs(settings, _wrong(problems)))
        problems += [_place(("target",), settings["target"], text) for text in texts]
    return settings, problems


def _wrong(problems: list[Problem]) -> set[str]:
    """Return the keys of an experiment that have problems."""
    return {re.split(r"[.\[]", problem.path[0])[0] if problem.path else "model" for problem in problems}


def _needs(settings: dict, wrong: set[str]) -> tuple[str | None, list[str]]:
    """Return the unit of the model's currents and the states that are fitted, as far as they are sound."""
    if wrong & {"model", "loss", "fit"} or settings["loss"] == "default":
        return None, []
    from odynn.fitting.checks import fitted_states
    from odynn.models import load_model

    return load_model(settings["model"]).current_unit, fitted_states(settings)


def _ask(check: Callable[..., list[str]], settings: dict, *others: object) -> list[str]:
    """Return the problems that another module finds; one that it raises must not hide the others."""
    try:
        texts = check(deepcopy(settings), *others)
    except OdynnError as error:
        texts = [str(error)]
    return [line for text in texts for line in text.splitlines()]


def _place(path: tuple, keys: Mapping, text: str) -> Problem:
    """Return a problem said by another module, which may begin with ``key.key: ``."""
    key, colon, rest = text.partition(": ")
    if colon and re.match(r"\w+", key) and re.split(r"[.\[]", key)[0] in keys and " " not in key:
        return Problem((*path, key), rest)
    return Problem(path, text)
