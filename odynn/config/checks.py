"""Checks of an experiment's settings against each other and the disk, which no schema can express.

Each function takes settings of one experiment, complete and valid by the schema, and returns (key
within the experiment, what is wrong and the remedy). No recording or model is opened here.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from odynn.config.addresses import find_address_problem
from odynn.config.keys import experiment_schema
from odynn.errors import did_you_mean, listed
from odynn.fingerprint import losses_of

Finding = tuple[tuple, str]


def find_conflicts(settings: Mapping) -> list[Finding]:
    """Return what in the settings of an experiment contradicts something else in them."""
    target = settings["target"]
    if "synthetic" in target:
        path, target = ("target", "synthetic"), target["synthetic"]
        found = [*_split(target, path, list(range(len(target["sweeps"]))))]
        found += _stimuli(target, (*path, "sweeps"), settings["dt"])
    else:
        found = [*_split(target, ("target",), target["sweeps"]), *_window(target, settings["dt"])]
        found += [*_protocol(target), *_preparation(target)]
    found += [*_parameters(settings["parameters"]), *_pools(settings["starts"], settings["fit"])]
    for path, loss in losses_of(settings):
        found += _loss(path, loss)
    return [*found, *_plot(settings["plot"])]


def _split(target: Mapping, path: tuple, sweeps: list[int] | None) -> Iterator[Finding]:
    """Check which sweeps are trained on and which held out; ``sweeps`` None: known to the file only."""
    train, test = target["train"], target["test"]
    for key in ("train", "test"):
        unknown = [number for number in target[key] or [] if sweeps is not None and number not in sweeps]
        if unknown:
            yield (
                (*path, key),
                f"there is no sweep {listed(unknown)}. Expected numbers among {listed(sweeps)} "
                f"(the first sweep is 0). Received: {target[key]}. Remove it or add the sweep.",
            )
    shared = sorted(set(train or []) & set(test or []))
    if shared:
        yield (
            (*path, "test"),
            f"a held-out sweep must not be trained on. Received: {listed(shared)} in both train {train} and "
            f"test {test}. Remove it from one of them.",
        )
    if train is None and sweeps is not None and test and not set(sweeps) - set(test):
        yield (
            (*path, "test"),
            f"no sweep is left to train on. Received: {test}, which are all {len(sweeps)} sweeps. "
            "Hold out fewer, or add sweeps.",
        )


def _window(target: Mapping, dt: float) -> Iterator[Finding]:
    window = target["window"]
    if window is not None and not window[1] - window[0] >= 2 * dt:
        yield (
            ("target", "window"),
            f"expected [from, to] in ms with at least two steps of dt ({dt:g} ms) between them. "
            f"Received: [{window[0]:g}, {window[1]:g}]. Swap or widen them.",
        )


def _protocol(target: Mapping) -> Iterator[Finding]:
    protocol = target["protocol"]
    if protocol is None:
        return
    path = ("target", "protocol")
    if target["stimulus"] is not None:
        yield (
            path,
            (
                "the stimulus is described here or in another file, not both. Received: target.protocol and "
                "target.stimulus. Remove one of them."
            ),
        )
    given = [key for key in ("pieces", "sweeps") if protocol[key] is not None]
    if len(given) != 1:
        yield (
            path,
            (
                f"expected either pieces (those of every sweep) or sweeps (the pieces of each). Received: "
                f"{listed(given) or 'neither'}. Give one of the two."
            ),
        )
    elif protocol["sweeps"] is not None and protocol["amplitudes"] is not None:
        yield (
            (*path, "amplitudes"),
            (
                "amplitudes multiply pieces. Received: amplitudes and sweeps. Write the amplitudes into "
                "the sweeps, or "
                "give pieces."
            ),
        )
    for sweep, pieces in enumerate(
        [protocol["pieces"]] if protocol["sweeps"] is None else protocol["sweeps"]
    ):
        for place, piece in enumerate(pieces or []):
            for text in _piece(piece, float("inf")):
                where = ("pieces", place) if protocol["sweeps"] is None else ("sweeps", sweep, place)
                yield (*path, *where), text


def _preparation(target: Mapping) -> Iterator[Finding]:
    if target["area"] is not None and target["capacitance"] is not None:
        yield (
            ("target", "capacitance"),
            "the membrane area or the capacitance is given, not both, as either gives the other. Received: "
            "area "
            f"{target['area']:g} µm² and capacitance {target['capacitance']:g} pF. Remove one of them.",
        )
    settings = target["preparation"]
    intervals = [(("mask", place), times) for place, times in enumerate(settings["mask"])]
    intervals += [(("baseline", channel), times) for channel, times in settings["baseline"].items()]
    for place, entry in enumerate(settings["weights"]):
        intervals += [(("weights", place, "times", at), times) for at, times in enumerate(entry["times"])]
        if entry["sweeps"] is None and not entry["times"]:
            yield (
                ("target", "preparation", "weights", place),
                "expected sweeps, times or both: a weight of everything changes nothing. Received: neither. "
                "Say what it is for, or leave it out.",
            )
    for path, (first, last) in intervals:
        if not first < last:
            yield (
                ("target", "preparation", *path),
                f"expected [from, to] in ms with from < to. Received: [{first:g}, {last:g}]. Swap them.",
            )


def _stimuli(target: Mapping, path: tuple, dt: float) -> Iterator[Finding]:
    duration = target["duration"]
    if duration < 2 * dt:
        yield (
            (*path[:-1], "duration"),
            f"expected at least two steps of dt ({dt:g} ms). Received: {duration:g} ms. "
            "Make it longer, or dt shorter.",
        )
    for sweep, pieces in enumerate(target["sweeps"]):
        for place, piece in enumerate(pieces):
            for text in _piece(piece, duration):
                yield (*path, sweep, place), text


def _piece(piece: Mapping, duration: float) -> Iterator[str]:
    begin = piece["from"]
    if "pulses" in piece:
        end = begin + (piece["number"] - 1) * piece["every"] + piece["width"]
        if piece["number"] > 1 and piece["width"] > piece["every"]:
            yield (
                f"pulses must not overlap: expected width ≤ every. Received: width {piece['width']:g} ms, "
                f"every {piece['every']:g} ms. Shorten the width, or lengthen every."
            )
        remedy = "Give fewer or shorter pulses, or a longer duration."
    else:
        end = piece["to"]
        if not begin < end:
            yield (
                f"expected from < to, in ms. Received: from {begin:g} to {end:g} ms. Swap them, or widen "
                "the piece."
            )
        remedy = "End it earlier, or give a longer duration."
    # Sums such as 0.1 + 0.2 must not count as later than 0.3.
    if end > duration * (1 + 1e-9):
        yield (
            f"a piece must end within the duration of the sweep ({duration:g} ms). "
            f"Received: an end at {end:g} ms. {remedy}"
        )


def _parameters(parameters: Mapping) -> Iterator[Finding]:
    fixed, free = parameters["fixed"], parameters["free"]
    for key, names in (("free", () if free == "all" else free), *((k, parameters[k]) for k in _OF_FREE)):
        for name in names:
            if name in fixed:
                yield (
                    ("parameters", key),
                    f"'{name}' cannot be both here and in parameters.fixed (held at {fixed[name]:g}). "
                    "Remove it from one of them.",
                )
    yield from _shared(parameters)
    for name, (lower, upper) in parameters["bounds"].items():
        if not lower < upper:
            yield (
                ("parameters", "bounds", name),
                f"expected [lower, upper] with lower < upper. Received: [{lower:g}, {upper:g}]. Swap them, "
                f"or hold the parameter with parameters.fixed: {{{name}: {lower:g}}}.",
            )
    for name, (first, last) in parameters["ranges"].items():
        lower, upper = parameters["bounds"].get(name, (float("-inf"), float("inf")))
        if not first <= last:
            yield (
                ("parameters", "ranges", name),
                f"expected [lower, upper] with lower ≤ upper. Received: [{first:g}, {last:g}]. Swap them.",
            )
        elif lower < upper and not lower <= first <= last <= upper:
            yield (
                ("parameters", "ranges", name),
                f"random starts must lie inside parameters.bounds.{name} [{lower:g}, {upper:g}]. "
                f"Received: [{first:g}, {last:g}]. Narrow the range, or widen the bounds.",
            )


_OF_FREE = ("bounds", "ranges", "scales")


def _pools(starts: Mapping, fit: Mapping) -> Iterator[Finding]:
    """Check which starts are kept, pool by pool."""
    pool, size = starts["pool"], starts["shard_size"]
    stages = [] if fit["stages"] == "default" else fit["stages"]
    kept = [(place, stage["keep"]) for place, stage in enumerate(stages) if stage["keep"] is not None]
    if size % pool:
        yield (
            ("starts", "shard_size"),
            f"expected a multiple of starts.pool ({pool}), so that no pool is divided. Received: {size}. "
            f"Write {(size // pool + 1) * pool}.",
        )
    if pool > 1 and not kept and fit["stages"] != "default":
        yield (
            ("starts", "pool"),
            f"the starts of a pool compete only where a stage keeps some of them. Received: {pool}, and no "
            f"stage with `keep`. Write fit.stages, the first with keep: {max(1, pool // 4)}, or no pool.",
        )
    most = pool
    for place, keep in kept:
        if keep > most:
            yield (
                ("fit", "stages", place, "keep"),
                f"expected at most the {most} of each pool that are there (starts.pool is {pool}). "
                f"Received: {keep}. Write {most} or fewer, or a larger starts.pool.",
            )
        most = min(most, keep)
    if fit["hopeless"] is not None and (not kept or kept[0][0] > 0 or kept[0][1] >= pool):
        yield (
            ("fit", "hopeless"),
            "a hopeless start gives way to one that the first stage left out: expected `keep` in the first "
            f"stage, below starts.pool ({pool}). Received: {fit['hopeless']:g} without. Add it, or leave "
            "hopeless out.",
        )


def _shared(parameters: Mapping) -> Iterator[Finding]:
    """Check groups of parameters that take one value: each in one group, none of them told apart."""
    group_of: dict[str, str] = {}
    for group, names in parameters["shared"].items():
        path, leader = ("parameters", "shared", group), names[0]
        for name in names:
            if name in group_of:
                yield (
                    path,
                    f"a parameter can be in one group. Received: '{name}' here and in "
                    f"parameters.shared.{group_of[name]}. Join the groups, or remove it from one of them.",
                )
            group_of.setdefault(name, group)
            if name in parameters["fixed"]:
                yield (
                    path,
                    "the parameters of a group are fitted. Received: "
                    f"'{name}', which parameters.fixed holds at {parameters['fixed'][name]:g}. "
                    "Remove it from one of them.",
                )
        for key in _OF_FREE:
            for name in names[1:]:
                if name in parameters[key]:
                    yield (
                        path,
                        f"the first parameter, '{leader}', says the bounds, range and scale of all. "
                        f"Received: '{name}' in parameters.{key}. Give parameters.{key}.{leader} instead.",
                    )
        free = parameters["free"]
        if free != "all" and leader not in free and set(names) & set(free):
            yield (
                path,
                f"the first parameter, '{leader}', stands for all. Received: parameters.free without it. "
                "Add it there.",
            )


def _loss(path: tuple, loss: Mapping | list) -> Iterator[Finding]:
    short = isinstance(loss, Mapping)
    if not any(weight > 0 for weight in (loss.values() if short else (term["weight"] for term in loss))):
        received = dict(loss) if short else f"{len(loss)} terms of weight 0"
        yield (
            path,
            f"at least one weight must be above 0. Received: {received}. Give the state that is fitted a "
            "weight, such as V: 1.0.",
        )
    for place, term in enumerate(() if short else loss):
        # The options of a user's own class are its own business.
        for key in () if ":" in term["kind"] else ("windows", "except"):
            for number, (first, last) in enumerate(term.get(key, ())):
                if not first < last:
                    yield (
                        (*path, place, key, number),
                        f"expected [from, to] in ms with from < to. Received: [{first:g}, {last:g}]. "
                        "Swap them.",
                    )


def _plot(plot: Mapping) -> Iterator[Finding]:
    keys = experiment_schema()["properties"]["plot"]["properties"]
    changed = [key for key in ("color_map", "target_color") if plot[key] != keys[key]["default"]]
    if not changed:
        return
    # Slow to import, so only for those who chose colours; a wrong name found after the fit is worse.
    from matplotlib import colormaps
    from matplotlib.colors import CSS4_COLORS, is_color_like

    if "color_map" in changed and plot["color_map"] not in colormaps:
        yield (
            ("plot", "color_map"),
            f"expected the name of a Matplotlib colour map. Received: '{plot['color_map']}'."
            + (did_you_mean(plot["color_map"], colormaps) or " Choose one such as viridis, magma or tab10."),
        )
    if "target_color" in changed and not is_color_like(plot["target_color"]):
        yield (
            ("plot", "target_color"),
            f"expected a Matplotlib colour. Received: '{plot['target_color']}'."
            + (did_you_mean(plot["target_color"], CSS4_COLORS) or " Choose one such as black or '#333333'."),
        )


def locate_files(settings: dict, folder: Path) -> list[Finding]:
    """Find the files that settings name, and say which are not there.

    The paths in ``settings`` are changed in place: from relative to ``folder`` to relative to the
    working directory, or absolute where the two have no folder in common. So results do not hold the
    paths of one machine.

    Args:
        settings: of one experiment.
        folder: that of the configuration file.
    """
    found: list[Finding] = []
    model = settings["model"]
    file, colon, name = model.rpartition(":")
    if model.endswith(".py") or (file.endswith(".py") and not name.isidentifier()):
        text = f"expected path/to/file.py:ClassName. Received: '{model}'. Add the name of the model's class."
        found.append((("model",), text))
    elif file.endswith(".py"):
        path, problem = _locate(file, folder, "a Python file")
        settings["model"] = f"{path}:{name}"
        found += [(("model",), problem)] if problem else []
    for path, loss in losses_of(settings):
        for place, term in enumerate(loss if isinstance(loss, list) else ()):
            file, colon, name = term["kind"].rpartition(":")
            if colon:
                located, problem = _locate(file, folder, "a Python file")
                term["kind"] = f"{located}:{name}"
                found += [((*path, place, "kind"), problem)] if problem else []
    target = settings["target"]
    if "file" in target:
        files = target["file"]
        if isinstance(files, list):
            for place, file in enumerate(files):
                files[place], problem = _locate(file, folder, "a recording")
                found += [(("target", "file", place), problem)] if problem else []
        else:
            target["file"], problem = _locate(files, folder, "a recording")
            found += [(("target", "file"), problem)] if problem else []
        found += _locate_stimulus(target, folder)
    return found


def _locate_stimulus(target: dict, folder: Path) -> Iterator[Finding]:
    """Find the files that a stimulus comes from, as `locate_files` does."""
    stimulus, protocol = target["stimulus"], target["protocol"]
    if stimulus is not None:
        stimulus["file"], problem = _locate(stimulus["file"], folder, "a file with the stimulus")
        if problem:
            yield ("target", "stimulus", "file"), problem
    if protocol is not None and isinstance(protocol["amplitudes"], str):
        from odynn.recordings.protocols import split_amplitudes

        name, keys = split_amplitudes(protocol["amplitudes"])
        name, problem = _locate(name, folder, "a file of amplitudes")
        protocol["amplitudes"] = f"{name}:{keys}" if keys else name
        if problem:
            yield ("target", "protocol", "amplitudes"), problem


def _locate(file: str, folder: Path, kind: str) -> tuple[str, str]:
    """Return a file's path as settings hold it, and the problem with it or an empty string."""
    if "://" in file:
        return file, find_address_problem(file, kind)
    # A folder reached by a symbolic link has another parent than its name suggests.
    path = os.path.normpath(os.path.join(os.path.realpath(folder), os.path.expanduser(file)))
    if os.path.isfile(path) or _is_pattern(path):
        return _portable(path), ""
    wrong = "this is a folder" if os.path.isdir(path) else "there is no such file"
    text = (
        f"{wrong}. Expected {kind}, its path relative to the configuration file. "
        f"Received: '{file}', that is {path}."
    )
    parent = os.path.dirname(path)
    if os.path.isfile(file):
        remedy = f" It is there from the working directory: write {os.path.relpath(file, folder)}."
    elif not os.path.isdir(parent):
        remedy = f" There is no folder {parent} either. Correct the path."
    else:
        remedy = did_you_mean(os.path.basename(path), sorted(os.listdir(parent))) or " Correct the path."
    return file, text + remedy


def _is_pattern(path: str) -> bool:
    """Return whether a path stands for several files in a folder that is there; its reader looks for them."""
    from odynn.recordings.files import is_pattern

    return is_pattern(path) and os.path.isdir(os.path.dirname(path))


def _portable(path: str) -> str:
    here = os.getcwd()
    try:
        shared = os.path.commonpath([here, path])
    except ValueError:  # two drives
        return path
    relative = Path(os.path.relpath(path, here))
    near = shared != os.path.dirname(shared) and relative.parts.count("..") <= 3
    return relative.as_posix() if near else path
