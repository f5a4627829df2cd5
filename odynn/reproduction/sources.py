"""The files that the settings of an experiment name, and where they are now.

Settings in a result have paths as they were from the working directory of the run, and of a path that
was absolute only the name.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

from odynn.errors import RecordingError
from odynn.fingerprint import losses_of
from odynn.recordings.files import find_files, is_address
from odynn.recordings.protocols import split_amplitudes

_ANCESTORS = 6


class Source(NamedTuple):
    """A file that settings name.

    Attributes:
        place: the keys that lead to it.
        kind: "code" (of a model or a loss), "recording", "stimulus" or "amplitudes".
        file: the path, which may be a pattern or an address.
        rest: what follows the path in the settings, such as ":ClassName".
    """

    place: tuple
    kind: str
    file: str
    rest: str = ""

    @property
    def name(self) -> str:
        """The file's name without folders."""
        return self.file.replace("\\", "/").rpartition("/")[2]


def sources_of(settings: Mapping) -> list[Source]:
    """Return the files that the settings of an experiment name."""
    found = [_code(("model",), settings["model"])] if ".py:" in settings["model"] else []
    for path, loss in losses_of(settings):
        for number, term in enumerate(loss if isinstance(loss, list) else ()):
            if ".py:" in term["kind"]:
                found.append(_code((*path, number, "kind"), term["kind"]))
    target = settings["target"]
    file = target.get("file")
    if isinstance(file, list):
        found += [Source(("target", "file", number), "recording", one) for number, one in enumerate(file)]
    elif file:
        found.append(Source(("target", "file"), "recording", file))
    if target.get("stimulus"):
        found.append(Source(("target", "stimulus", "file"), "stimulus", target["stimulus"]["file"]))
    amplitudes = (target.get("protocol") or {}).get("amplitudes")
    if isinstance(amplitudes, str):
        name, keys = split_amplitudes(amplitudes)
        found.append(
            Source(("target", "protocol", "amplitudes"), "amplitudes", name, f":{keys}" * bool(keys))
        )
    return found


def _code(place: tuple, text: str) -> Source:
    path, _, name = text.rpartition(":")
    return Source(place, "code", path, f":{name}")


def moved(settings: Mapping, paths: Mapping[Source, str | Path]) -> dict:
    """Return settings in which these sources have other paths."""
    changed = deepcopy(dict(settings))
    for source, path in paths.items():
        *folders, last = source.place
        holder = changed
        for key in folders:
            holder = holder[key]
        holder[last] = f"{path}{source.rest}"
    return changed


def files_at(path: str | Path) -> list[Path]:
    """Return the files that a path or a pattern stands for; none where it stands for nothing."""
    try:
        return [found.path for found in find_files(str(path)) if found.path.is_file()]
    except RecordingError:
        return []


def look_for(
    source: Source,
    results: Path,
    folders: Sequence[Path] = (),
    fits: Callable[[Path], bool] | None = None,
) -> Path | None:
    """Return where a source is now.

    It is looked for in the folders given, by its path and by its name; then by its path from the folder
    of the results, from those above it, and from the working directory.

    Args:
        source: one of ``sources_of``.
        results: folder of the results.
        folders: where the user says that it may be.
        fits: tells whether a file is the one that was used; without one that fits, the first that is
            there is returned.
    """
    path = source.name if is_address(source.file) else source.file
    tried = [folder / one for folder in folders for one in (path, source.name)]
    tried += [folder / path for folder in _upwards(results)]
    tried.append(Path(path))
    there = [candidate for candidate in dict.fromkeys(tried) if files_at(candidate)]
    return next((one for one in there if fits and fits(one)), there[0] if there else None)


def _upwards(folder: Path) -> Iterable[Path]:
    folder = folder.absolute()
    return [folder, *folder.parents][:_ANCESTORS]
