"""One file with everything that a finished experiment needs to be done again.

A zip file: the configuration, the results, the recording, files of the user's own, the versions of what
is installed, the code of odynn, and the checksum of each. Equal contents give equal bytes.
"""

import hashlib
import json
import os
import platform
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import yaml

import odynn
from odynn import storage
from odynn.errors import StorageError, listed
from odynn.reproduction.finished import Finished
from odynn.reproduction.sources import Source, files_at, moved

MANIFEST = "archive.json"
SUMS = "SHA256SUMS"
_FORMAT = 1
_RESULTS = ("*.h5", "*.csv", "*.html", "figures/*", "tables/*")
_SOFTWARE = (
    "Makefile",
    "pyproject.toml",
    "requirements*.lock",
    "environment.yml",
    "README.md",
    "LICENSE",
    "CITATION.cff",
    "odynn/**/*",
    "workflow/**/*",
)
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # the first time that a zip file can hold
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class Archived:
    """An archive that has been unpacked and checked.

    Attributes:
        folder: where it is.
        results: the folder of results in it.
        experiment: its name.
        paths: of each file that the settings name, as they name it, its path in the archive.
        software: whether it holds the code of odynn.
    """

    folder: Path
    results: Path
    experiment: str
    paths: Mapping[str, str]
    software: bool

    def locate(self, sources: list[Source]) -> dict[Source, Path | None]:
        """Return where each source is; None for a recording that was left out."""
        places = {source: self.paths.get(f"{source.file}{source.rest}") for source in sources}
        return {source: self.folder / path if path else None for source, path in places.items()}


def pack(
    finished: Finished, located: Mapping[Source, Path | None], output: Path, software: bool
) -> list[tuple[str, int]]:
    """Write an archive.

    Args:
        finished: the experiment.
        located: where the files are that its settings name; None for a recording to leave out.
        output: the zip file to write.
        software: whether to put in the code of odynn, if this is a checkout of it.

    Returns:
        Each member and its size in bytes.
    """
    members: dict[str, Path | bytes] = {}
    for pattern in _RESULTS:
        for path in finished.folder.glob(pattern):
            if path.is_file() and not path.name.startswith("."):
                members[f"results/{path.relative_to(finished.folder).as_posix()}"] = path
    paths = _place_sources(located, members)
    root = Path(odynn.__file__).parents[1]
    software = software and (root / "pyproject.toml").is_file() and (root / "workflow").is_dir()
    for pattern in _SOFTWARE if software else ():
        for path in root.glob(pattern):
            inside = path.relative_to(root)
            if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in inside.parts):
                members[f"software/{inside.as_posix()}"] = path
    members["versions.txt"] = "".join(f"{line}\n" for line in _installed()).encode()
    inside = {source: paths[f"{source.file}{source.rest}"] for source, path in located.items() if path}
    settings = moved(finished.settings, inside)
    config = {"experiments": {finished.experiment: settings}}
    members["config.yaml"] = yaml.safe_dump(config, allow_unicode=True, sort_keys=False).encode()
    about = {
        "format": _FORMAT,
        "experiment": finished.experiment,
        "odynn_version": finished.stamp["odynn_version"],
        "code_fingerprint": finished.made_by.get("code_fingerprint"),
        "versions": finished.made_by.get("versions"),
        "paths": paths,
        "software": software,
    }
    members[MANIFEST] = (json.dumps(about, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    left_out = [source.name for source, path in located.items() if path is None]
    members["README.md"] = _readme(finished, software, left_out).encode()
    return _write(output, members)


def _place_sources(located: Mapping[Source, Path | None], members: dict) -> dict[str, str]:
    """Add the files that settings name to the members; return the path in the archive of each."""
    paths: dict[str, str] = {}
    for source, path in located.items():
        key = f"{source.file}{source.rest}"
        if path is None or key in paths:
            continue
        folder, number = source.kind, 1
        files = files_at(path)
        while any(members.get(f"{folder}/{file.name}", file) != file for file in files):
            number += 1  # another file of this name
            folder = f"{source.kind}-{number}"
        members.update({f"{folder}/{file.name}": file for file in files})
        paths[key] = f"{folder}/{path.name}"
    return paths


def _installed() -> list[str]:
    found = {
        entry.name.lower(): f"{entry.name}=={entry.version}"
        for entry in metadata.distributions()
        if entry.name
    }
    return [f"# Python {platform.python_version()}", *(found[name] for name in sorted(found))]


def _write(output: Path, members: Mapping[str, Path | bytes]) -> list[tuple[str, int]]:
    sums, sizes = [], []
    with storage.atomic_path(output) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(members):
                content = members[name]
                content = content if isinstance(content, bytes) else content.read_bytes()
                archive.writestr(_info(name), content)
                sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
                sizes.append((name, len(content)))
            archive.writestr(_info(SUMS), "".join(sums))
    return sizes


def _info(name: str) -> zipfile.ZipInfo:
    """Return the entry of a member, the same on every machine and at all times."""
    info = zipfile.ZipInfo(name, _EARLIEST)
    info.create_system = 3
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _readme(finished: Finished, software: bool, left_out: list[str]) -> str:
    python = ".".join(str(finished.made_by.get("versions", {}).get("python", "3")).split(".")[:2])
    lines = [
        f"# {finished.experiment}: a fit by odynn {finished.stamp['odynn_version']}, with all that it needs",
        "",
        "- `results/`: the results; `results/report.html` is the page to look at.",
        "- `config.yaml`: the configuration, complete with every default.",
        "- `recording/` and `stimulus/`, if they are here: what was recorded. `code/`: models and losses "
        "of one's own.",
        "- `versions.txt`: what was installed where this archive was made.",
        f"- `{SUMS}`: checksums, for `sha256sum -c {SUMS}`.",
    ]
    if left_out:
        lines += [
            "",
            f"Not in this archive: {listed(left_out)}. `results/target.h5` holds what was fitted of it.",
        ]
    lines += [
        "",
        "To see whether the numbers come out again:",
        "",
        "```sh",
        "odynn reproduce THIS_FILE.zip",
        "```",
        "",
    ]
    if software:
        lines += [
            "That fits again with the odynn that is installed, and runs the code in `code/`. The one that "
            "made these",
            "results is here, in `software/`. Unpack the archive, and",
            "",
            "```sh",
            "cd software",
            f"make environment      # Python {python}: make environment PYTHON=/path/to/python{python}",
            ".venv/bin/odynn reproduce ../THIS_FILE.zip",
            "```",
            "",
        ]
    return "\n".join(lines)


@contextmanager
def unpacked(path: Path) -> Iterator[Archived]:
    """Unpack an archive into a temporary folder, check it, and remove the folder in the end.

    Raises:
        StorageError: it is damaged, holds something else, or a member would lie outside the folder.
    """
    with TemporaryDirectory(prefix="odynn-") as name:
        folder = Path(name)
        try:
            _unpack(path, folder)
        except StorageError:
            raise
        except _FAULTS as error:
            raise _damaged(path, str(error)) from error
        yield _checked(path, folder)


def _unpack(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        for entry in entries:
            problem = _find_problem(entry.orig_filename) or _find_kind_problem(entry)
            if problem:
                raise StorageError(
                    f"'{path}' must be an archive of odynn, whose members lie in its own folders. Received: "
                    f"'{entry.filename}', {problem}. Nothing was unpacked; do not trust this file."
                )
        names = [entry.filename for entry in entries]
        if len(set(names)) < len(names) or not {MANIFEST, SUMS} <= set(names):
            raise StorageError(
                f"'{path}' must be an archive of `odynn archive`, with {MANIFEST} and {SUMS}. Received: a "
                f"zip file of {listed(names, most=5) or 'nothing'}. Give another file, or unpack it and "
                "name its results."
            )
        for name in names:
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(name))


def _find_problem(name: str) -> str:
    """Say why a path does not lead to a file in the archive, or return an empty string."""
    if name.startswith("/") or "\\" in name or ":" in name or "\0" in name:
        return "which is not a path in a folder"
    if {"..", ".", ""} & set(name.split("/")):
        return "which leads out of its folder" if ".." in PurePosixPath(name).parts else "which is no file"
    return ""


def _find_kind_problem(entry: zipfile.ZipInfo) -> str:
    """Say why a member is no plain file, or return an empty string."""
    mode = entry.external_attr >> 16
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        return "which is a link or something else than a file"
    return "which is encrypted" if entry.flag_bits & 1 else ""


def _checked(path: Path, folder: Path) -> Archived:
    """Return an unpacked archive, all members of which have their checksums."""
    wanted = {}
    for line in (folder / SUMS).read_text("utf-8").splitlines():
        digest, _, name = line.partition("  ")
        wanted[name] = digest
    there = {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()} - {SUMS}
    lost, more = sorted(set(wanted) - there), sorted(there - set(wanted))
    if lost or more:
        raise _damaged(path, f"without {listed(lost)}" if lost else f"{SUMS} does not list {listed(more)}")
    changed = [
        name
        for name, digest in wanted.items()
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest
    ]
    if changed:
        raise _damaged(path, f"{listed(changed)}: not what {SUMS} says")
    about = json.loads((folder / MANIFEST).read_text("utf-8"))
    if about.get("format") != _FORMAT:
        raise StorageError(
            f"'{path}' must be an archive of format {_FORMAT}, which odynn {odynn.__version__} reads. "
            f"Received: format {about.get('format')}, of odynn {about.get('odynn_version')}. Install that "
            "version, or unpack the file and name its results."
        )
    paths = about["paths"]
    if any(_find_problem(one) for one in paths.values()):
        raise _damaged(path, f"{MANIFEST} names files outside")
    return Archived(folder, folder / "results", about["experiment"], paths, bool(about["software"]))


def _damaged(path: Path, said: str) -> StorageError:
    size = os.path.getsize(path) if os.path.isfile(path) else 0
    return StorageError(
        f"'{path}' must be a whole archive, as `odynn archive` wrote it. Received: a file of {size} bytes "
        f"that is damaged or was changed ({said}). Copy or download it again; unzip can save what is "
        "readable."
    )
