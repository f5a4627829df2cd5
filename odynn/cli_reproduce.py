"""``odynn reproduce``: what it takes and what it prints."""

import argparse
import os
import sys
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from odynn.errors import StorageError, listed

if TYPE_CHECKING:
    from odynn.reproduction import Archived, Cause, Comparison, Finished
    from odynn.reproduction.sources import Source

_MOST_ROWS = 20


def add_command(commands) -> None:
    """Add the command to the parsers of the command line."""
    reproduce = commands.add_parser(
        "reproduce",
        help="fit a finished experiment again, and say whether the numbers are the same",
        description="Fits a finished experiment again from its recording, and compares all numbers. Models "
        "and losses of one's own are run, also those in an archive. Ends with 0 if the numbers are the "
        "same, bit for bit or within 1e-5 of their value, else with 1.",
    )
    reproduce.add_argument("results", help="results/EXPERIMENT, its fit.h5, or an archive of `odynn archive`")
    reproduce.add_argument(
        "--starts",
        type=_count,
        metavar="N",
        help="fit only the N best starts again (and those of their pools)",
    )
    reproduce.add_argument(
        "--cores",
        type=_count,
        metavar="N",
        help="shards fitted at once (default: as many as cores; on a GPU, take 1)",
    )
    reproduce.add_argument(
        "--output", metavar="FOLDER", help="keep the new results there; an interrupted refit goes on from it"
    )
    add_data(reproduce)
    reproduce.add_argument(
        "--from-target", action="store_true", help="fit the target.h5 of the results, not the recording"
    )
    reproduce.add_argument(
        "--against", metavar="RESULTS", help="fit nothing: compare with results that are there, of a rerun"
    )
    reproduce.set_defaults(command=_reproduce)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where files are now."""
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="FOLDER",
        help="where the recording or files of one's own are, if they were moved; may be given several times",
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1. Received: {number}")
    return number


def say(text: str) -> None:
    """Print a line at once, for who waits."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _reproduce(options: argparse.Namespace) -> int:
    from odynn import reproduction

    with _opened(options.results) as (finished, archived):
        number = len(finished.fit.ids)
        say(f"{options.results}: {finished.experiment}, {_number(number, 'start')}")
        if options.against:
            now = reproduction.open_finished(options.against)
            causes = reproduction.find_causes(finished.made_by, now.made_by)
            _show_conditions(finished.made_by, now.made_by, causes)
            found = _compared(finished, now.folder)
        else:
            found, causes = _refitted(options, finished, archived)
        return _conclude(options, finished, archived, found, causes)


@contextmanager
def _opened(given: str) -> Iterator[tuple["Finished", "Archived | None"]]:
    """Open results, unpacked from an archive if that is what is given."""
    from odynn import reproduction

    path = Path(given)
    if path.is_file() and (path.suffix == ".zip" or zipfile.is_zipfile(path)):
        with reproduction.unpacked(path) as archived:
            file = archived.results / "fit.h5"
            yield reproduction.open_finished(file, archived.experiment), archived
    else:
        yield reproduction.open_finished(path), None


def _refitted(
    options: argparse.Namespace, finished: "Finished", archived: "Archived | None"
) -> tuple["Comparison", list["Cause"]]:
    """Fit again, and return the differences and what may be their causes."""
    from odynn import reproduction, storage

    located = locate(options.data, finished, archived)
    recording = [source for source in located if source.kind != "code"]
    lost = [source.name for source in recording if located[source] is None]
    stored = bool(recording) and (options.from_target or bool(lost))
    if stored and not finished.target:
        raise StorageError(
            f"The recording {listed(lost)} must be found, or target.h5 be beside {finished.path}. Received: "
            "neither. Say where the recording is: --data FOLDER."
        )
    with ExitStack() as stack:
        folder = Path(options.output or stack.enter_context(TemporaryDirectory(prefix="odynn-")))
        cores = options.cores or _cores()
        refit = stack.enter_context(reproduction.Refit(finished, located, folder.absolute(), cores, say))
        now = refit.stamp()
        causes = reproduction.find_causes(finished.made_by, now)
        _show_conditions(finished.made_by, now, causes)
        if stored:
            refit.take_target(finished.beside("target"))
            say(
                f"Data: {listed(lost)} not found: target.h5, made from it, is fitted."
                if lost
                else "Data: target.h5."
            )
        else:
            new = storage.read_target(refit.make_target())
            changed = reproduction.find_data_causes(finished, new)
            causes += changed
            say(_about_data(finished, recording, changed))
        whole = not options.starts or options.starts >= len(finished.fit.ids)
        shards = (
            reproduction.shards_of(finished)
            if whole
            else reproduction.best_shards(finished.fit, finished.settings, options.starts)
        )
        where = options.output or "a temporary folder"
        starts, at_once = _number(_starts_in(shards), "start"), min(cores, len(shards))
        if not whole:
            pools = finished.settings["starts"]["pool"] > 1
            starts += f", the best {options.starts}{' and those of their pools' * pools},"
        say(f"Fitting {starts} again in {_number(len(shards), 'shard')}, {at_once} at once, in {where}:")
        refit.fit(shards)
        found = _compared(finished, folder)
        return found, [*reproduction.find_causes(finished.made_by, refit.stamp()), *_of_data(causes)]


def _number(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _of_data(causes: list["Cause"]) -> list["Cause"]:
    return [cause for cause in causes if cause.kind == "data"]


def _starts_in(shards: list[str]) -> int:
    ranges = (map(int, shard.split("-")) for shard in shards)
    return sum(end - first + 1 for first, end in ranges)


def locate(
    folders: list[str], finished: "Finished", archived: "Archived | None"
) -> dict["Source", Path | None]:
    """Return where the files are that the settings of an experiment name; those of code must be there.

    Args:
        folders: where the user says that they may be.
        finished: the experiment.
        archived: the archive that it is from, if it is.

    Raises:
        StorageError: a file of code is not found.
    """
    from odynn.reproduction.sources import look_for, sources_of

    places = [Path(folder) for folder in folders]
    if archived:
        located = archived.locate(sources_of(finished.settings))
        for source, path in located.items():
            if path is None and places:  # left out of the archive
                located[source] = look_for(source, archived.folder, places)
    else:
        located = finished.locate(places)
    for source, path in located.items():
        if source.kind == "code" and path is None:
            raise StorageError(
                f"The file {source.file} must be there, since the fit used its class {source.rest[1:]}. "
                "Received: no such file in "
                f"{listed([*folders, finished.folder, 'the folders above it', 'the working directory'])}. "
                "Say where it is: --data FOLDER."
            )
    return located


def _compared(finished: "Finished", folder: Path) -> "Comparison":
    from odynn import reproduction, storage

    now = storage.read_fit(folder / "fit.h5")
    if not set(now.ids.tolist()) & set(finished.fit.ids.tolist()):
        raise StorageError(
            f"'{folder}' must hold a fit of the same starts. Received: none in common. Give a rerun of "
            f"{finished.path}."
        )
    found = reproduction.Comparison()
    target = folder / "target.h5"
    if finished.target and target.is_file():
        found += reproduction.compare(finished.target, storage.read_target(target)).of("target.h5")
    found += reproduction.compare(finished.fit, now).of("fit.h5")
    best, again = finished.beside("best"), folder / "best.h5"
    if best and again.is_file():
        runs, rerun = storage.read_best(best), storage.read_best(again)
        found += reproduction.compare(runs, rerun).of("best.h5")
        left = sorted(set(runs.ids.tolist()) & set(now.ids.tolist()) - set(rerun.ids.tolist()))
        if left:
            say(f"best.h5: no longer among the best, and not compared: {listed(left)}.")
    return found


def _show_conditions(then: Mapping, now: Mapping, causes: list["Cause"]) -> None:
    """Print what the fit was made with that is not the same now."""
    from odynn.cli import write_table

    if not then:
        say("Made with: the file does not say.")
    elif not causes:
        python = (now.get("versions") or {}).get("python")
        say(f"Made with: the Python ({python}), libraries, code and models that are here.")
    else:
        rows = [(cause.name, cause.then, cause.now or "not there") for cause in causes]
        write_table(("made with", "then", "now"), rows)


def _about_data(finished: "Finished", recording: list["Source"], changed: list["Cause"]) -> str:
    if not recording:
        return "Data: simulated again from the configuration" + (", and not the same." if changed else ".")
    names = listed(source.name for source in recording)
    if not finished.target:
        return f"Data: {names}; there is no target.h5 to compare with."
    if not changed:
        return f"Data: {names}, the same as then."
    return (
        f"Data: {names}, NOT the same as then ({'; '.join(_spelt(cause) for cause in changed)}), so that "
        "other numbers are to be expected. With --from-target, target.h5 is fitted in its place."
    )


def _spelt(cause: "Cause") -> str:
    return f"{cause.name}: {cause.then or 'nothing'} then, {cause.now or 'nothing'} now"


def _conclude(
    options: argparse.Namespace,
    finished: "Finished",
    archived: "Archived | None",
    found: "Comparison",
    causes: list["Cause"],
) -> int:
    """Print the verdict; return the exit status."""
    from odynn.reproduction import TOLERANCE
    from odynn.reproduction.differences import spelt_relative

    edited = finished.find_changed_files()
    for text in edited:
        sys.stderr.write(f"Warning: {text}: one of the two was changed afterwards.\n")
    differing = sum(one.differing for one in found.differences)
    if found.verdict == "identical":
        say(f"Identical: all {found.compared} numbers are the same, bit for bit.")
        return 0
    largest = max((one.largest for one in found.differences if not one.course), default=0.0)
    differ = f"{differing} of {found.compared} numbers differ"
    if found.verdict == "within tolerance":
        say(f"Within tolerance: {differ}, results by at most {largest:.1e} of their value.")
        if any(one.course for one in found.differences):
            say("The course of some fits differs, and not what came of them.")
    else:
        say(f"Different: {differ}, results by up to {spelt_relative(largest)} of their value.")
    say(
        f"The tolerance is {TOLERANCE:g} of the value: what another division into shards, processor or "
        "library may leave of the same fit."
    )
    _show_differences(found)
    if found.verdict == "within tolerance":
        if causes:
            say(f"What is not the same: {listed(_spelt(cause) for cause in causes)}.")
        return 0
    say("\n".join(_explain(options, finished, archived, causes, edited)))
    return 1


def _show_differences(found: "Comparison") -> None:
    from odynn.cli import write_table
    from odynn.reproduction.differences import spelt_relative

    headings = ("quantity", "differ", "by at most", "there", "then", "now")
    rows = [
        (one.name, str(one.differing), spelt_relative(one.largest), one.where, one.then, one.now)
        for one in found.differences[:_MOST_ROWS]
    ]
    left = len(found.differences) - len(rows)
    write_table(headings, [*rows, *([(f"{left} more", "", "", "", "", "")] if left else [])])


def _explain(
    options: argparse.Namespace,
    finished: "Finished",
    archived: "Archived | None",
    causes: list["Cause"],
    edited: list[str],
) -> Iterator[str]:
    """Yield a line for each cause, with what to do about it."""
    for cause in causes:
        if cause.kind == "own code":
            yield (
                f"Cause: {cause.name} is not the code that was fitted ({cause.then} then, {cause.now} now). "
                "Restore the file, or say where the old one is: --data FOLDER."
            )
        elif cause.kind == "data":
            yield (
                f"Cause: the data are not the same. {_spelt(cause)}. Restore the recording, say where the "
                "old one is (--data FOLDER), or fit what is stored of it: --from-target."
            )
        else:
            yield f"Cause, possibly: {_spelt(cause)}."
    for text in edited:
        yield f"Cause: {text}. Take the results from a copy, or run the workflow again."
    environment = [cause for cause in causes if cause.kind in ("library", "code")]
    if environment:
        yield _remedy(options, finished, archived, environment)
    if not causes and not edited:
        yield (
            "Python, libraries, code and data are the same. What is left is another kind of processor, or "
            "a fit.h5 that was changed."
        )


def _remedy(
    options: argparse.Namespace, finished: "Finished", archived: "Archived | None", causes: list["Cause"]
) -> str:
    python = next((cause.then for cause in causes if cause.name == "python"), "")
    set_up = "`make environment" + (
        f" PYTHON=/path/to/python{'.'.join(python.split('.')[:2])}`" if python else "`"
    )
    if archived and archived.software:
        return (
            f"To fit with the code and the versions that made it: unpack {options.results}, run {set_up} in "
            "its folder software, and there .venv/bin/odynn reproduce with the path of the archive."
        )
    version = finished.stamp.get("odynn_version")
    return (
        f"To fit with the code and the versions that made it: check out the odynn {version} that you used "
        f"then (its requirements.lock holds the versions), run {set_up} there, and .venv/bin/odynn "
        "reproduce again."
    )
