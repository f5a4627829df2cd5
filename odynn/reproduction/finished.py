"""An experiment that has been fitted: its settings, its files and what they say of how they were made."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from odynn import provenance, storage
from odynn.config.keys import complete, experiment_schema
from odynn.config.problems import dotted, find_problems
from odynn.data import Fit, Target
from odynn.errors import ConfigError, StorageError
from odynn.reproduction.sources import Source, look_for, sources_of


@dataclass(frozen=True)
class Finished:
    """A fitted experiment.

    Attributes:
        folder: of its results.
        path: of its fit.h5.
        experiment: its name, that of the folder.
        settings: complete; files in them as they were named.
        stamp: what fit.h5 says of how it was made.
    """

    folder: Path
    path: Path
    experiment: str
    settings: Mapping
    stamp: Mapping

    @cached_property
    def fit(self) -> Fit:
        """The merged fit."""
        return storage.read_fit(self.path)

    @cached_property
    def target(self) -> Target | None:
        """What was fitted, where target.h5 is beside the fit."""
        path = self.beside("target")
        return storage.read_target(path) if path else None

    @property
    def made_by(self) -> Mapping:
        """What the fitted shards say of how they were made."""
        return self.stamp.get("fitted_by", {})

    def beside(self, name: str) -> Path | None:
        """Return another file of the results, such as "best", or None if it is not there."""
        path = self.folder / f"{name}.h5"
        return path if path.is_file() else None

    def find_changed_files(self) -> list[str]:
        """Say which files are not those that others were made from: they were changed afterwards."""
        found = []
        best = self.beside("best")
        if best and _input(storage.read_stamp(best), "fit") not in ("", provenance.content_hash(self.fit)):
            found.append(f"{self.path} is not the file that {best.name} was made from")
        if self.target and _input(self.made_by, "target") not in ("", provenance.content_hash(self.target)):
            found.append(f"{self.beside('target')} is not the file that the starts were fitted to")
        return found

    def locate(self, folders: list[Path]) -> dict[Source, Path | None]:
        """Return where each file that the settings name is now; None where it is not found."""
        known = self.made_by.get("own_code", {})
        found = {}
        for source in sources_of(self.settings):
            digest = known.get(f"{source.file}{source.rest}") if isinstance(known, dict) else None
            recorded = (self.target.source if self.target else {}).get("sha256")
            wanted = {"code": digest, "recording": recorded}.get(source.kind)

            def fits(path, source=source, wanted=wanted):
                return wanted == (
                    code_digest(path, source) if source.kind == "code" else provenance.file_hash(path)
                )

            one = source.kind == "code" or source.place == ("target", "file") and "{" not in source.file
            found[source] = look_for(source, self.folder, folders, fits if wanted and one else None)
        return found


def code_digest(path: Path, source: Source) -> str:
    """Return the hash of a file of the user's own, as results hold it."""
    (digest,) = provenance.own_code({"model": f"{path}{source.rest}"}).values()
    return digest


def _input(stamp: Mapping, name: str) -> str:
    hashes = stamp.get("inputs", {})
    return hashes.get(name, "") if isinstance(hashes, dict) else ""


def open_finished(path: str | Path, experiment: str = "") -> Finished:
    """Return the experiment of a results folder or of its fit.h5.

    Args:
        path: the folder or the file.
        experiment: its name, where that of the folder is another.

    Raises:
        StorageError: there is no merged fit, or it is damaged.
        ConfigError: this version of odynn does not know its settings.
    """
    path = Path(path)
    file = path / "fit.h5" if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        inside = sorted(str(one.parent) for one in path.glob("*/fit.h5"))
        remedy = f"Name one of its experiments: {', '.join(inside)}." if inside else "Correct the path."
        raise StorageError(
            f"'{path}' must be the folder of a finished experiment, with its fit.h5. Received: a folder "
            f"without one. {remedy}"
        )
    stamp = storage.read_stamp(file)
    if stamp["kind"] != "fit" or stamp.get("stage") != "merge_fits" or "settings" not in stamp:
        raise StorageError(
            f"'{file}' must be a fit.h5, written by the stage merge_fits with its settings. Received: a "
            f"{stamp['kind']} file of the stage {stamp.get('stage', '(none)')}. Give "
            "results/EXPERIMENT/fit.h5."
        )
    settings = dict(stamp["settings"])
    for name in ("best", "uncertainty"):
        other = file.with_name(f"{name}.h5")
        if other.is_file():
            theirs = storage.read_stamp(other).get("settings", {})
            settings |= {name: theirs.get(name, {})}
            if theirs.get("device") == "cpu":  # a GPU that was asked for is taken where there is one
                settings["device"] = "cpu"
    name = experiment or file.absolute().parent.name
    return Finished(file.parent, file, name, _completed(settings, file, stamp), stamp)


def _completed(settings: dict, file: Path, stamp: Mapping) -> dict:
    """Return settings with the defaults of keys that no file says, since no number there depends on them."""
    problems = find_problems(experiment_schema(), settings)
    if problems:
        lines = "\n".join(f"{file}: {dotted(path)}: {text}" for path, text in problems)
        raise ConfigError(
            f"{lines}\nThe settings in it are of odynn {stamp.get('odynn_version')}. Do it again with that "
            "version."
        )
    # The choice of a loss is written out in them, with fewer keys than a user's: it stays as it is.
    return _over(complete(experiment_schema(), settings)[0], settings)


def _over(base: object, over: object) -> object:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return base | {key: _over(base.get(key), value) for key, value in over.items()}
