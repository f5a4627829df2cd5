"""``odynn archive``: what it takes, what it checks and what it prints."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from odynn.cli_reproduce import add_data, locate, say
from odynn.errors import FitError, StorageError, listed

if TYPE_CHECKING:
    from odynn.reproduction import Finished
    from odynn.reproduction.sources import Source


def add_command(commands) -> None:
    """Add the command to the parsers of the command line."""
    archive = commands.add_parser(
        "archive",
        help="pack a finished experiment into one file with all that a rerun needs",
        description="Packs the results, the complete configuration, the recording, models and losses of "
        "one's own, the versions installed and the code of odynn into a zip file with checksums.",
    )
    archive.add_argument("results", help="results/EXPERIMENT, or its fit.h5")
    archive.add_argument("file", nargs="?", help="the file to write (default EXPERIMENT.zip)")
    add_data(archive)
    archive.add_argument("--no-recording", action="store_true", help="leave the recording out")
    archive.set_defaults(command=_archive)


def _archive(options: argparse.Namespace) -> int:
    from odynn import reproduction

    finished = reproduction.open_finished(options.results)
    output = Path(options.file or f"{finished.experiment}.zip")
    output = output / f"{finished.experiment}.zip" if output.is_dir() else output
    if output.suffix != ".zip":
        raise StorageError(f"'{output}' must end with .zip. Received: '{output.suffix}'. Name the file so.")
    located = locate(options.data, finished, None)
    if options.no_recording:
        located = {source: path if source.kind == "code" else None for source, path in located.items()}
    _check_sources(finished, located)
    same = _is_same_code(finished, located)
    members = reproduction.pack(finished, located, output, same)
    say(f"{output}: {len(members)} files, {output.stat().st_size / 1e6:.1f} MB")
    for source, path in located.items():
        if path is None:
            reason = "left out" if options.no_recording else "not found"
            say(f"The recording {source.name} was {reason}: target.h5 holds what was fitted of it.")
    if not same:
        sys.stderr.write(
            "Warning: the code of odynn that is installed is not the one that made these results, and was "
            "left out.\n"
        )
    elif not any(name.startswith("software/") for name, _ in members):
        say("The code of odynn is not in it, since this odynn does not run from a checkout.")
    return 0


def _is_same_code(finished: "Finished", located: Mapping["Source", Path | None]) -> bool:
    from odynn.provenance import code_fingerprint, own_losses
    from odynn.reproduction.sources import moved

    settings = moved(finished.settings, {source: path for source, path in located.items() if path})
    then = finished.made_by.get("code_fingerprint")
    return then == code_fingerprint("fit", settings["model"], own_losses(settings))


def _check_sources(finished: "Finished", located: Mapping["Source", Path | None]) -> None:
    """Check that the files are those that were fitted: an archive of others could not be done again."""
    from odynn import recordings
    from odynn.reproduction.finished import code_digest
    from odynn.reproduction.sources import moved

    known = finished.made_by.get("own_code", {})
    for source, path in located.items():
        wanted = known.get(f"{source.file}{source.rest}") if isinstance(known, Mapping) else None
        if source.kind == "code" and wanted and code_digest(path, source) != wanted:
            raise FitError(
                f"{path} must be the file that was fitted, for the archive to be of use. Received: code "
                f"that was changed since ({wanted} then, {code_digest(path, source)} now). Restore it, say "
                "where the old one is (--data FOLDER), or run the workflow again."
            )
    data = {source: path for source, path in located.items() if source.kind != "code"}
    if not data:
        return
    if finished.target is None:
        raise StorageError(
            f"{finished.folder} must hold target.h5. Received: no such file. Run the workflow again."
        )
    if all(data.values()):
        found = recordings.checksums_of(moved(finished.settings, data)["target"])
        wrong = [key for key, value in found.items() if finished.target.source.get(key, value) != value]
        if wrong:
            raise FitError(
                "The recording must be the one that was fitted. Received: "
                f"{listed(source.name for source in data)} with another {listed(wrong)} than target.h5 "
                "says. Restore it, say where the old one is (--data FOLDER), or leave it out: "
                "--no-recording."
            )
