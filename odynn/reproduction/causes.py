"""Why a result cannot be got again: what it was made with that is not the same now."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from odynn.data import Target
from odynn.provenance import content_hash
from odynn.reproduction.differences import compare
from odynn.reproduction.finished import Finished

# Said in other ways, or no cause by themselves.
_NO_CAUSES = frozenset({"inputs", "odynn_version", "own_code", "settings", "stage", "kind", "schema_version"})


class Cause(NamedTuple):
    """Something that a result was made with, then and now.

    Attributes:
        kind: "library", "code", "own code", "data", or another key of a stamp, such as a device.
        name: what it is, such as "numpy".
        then: its version, or a hash.
        now: the same now; empty where it is not there.
    """

    kind: str
    name: str
    then: str
    now: str


def find_causes(then: Mapping, now: Mapping) -> list[Cause]:
    """Return what differs between two stamps of fitted shards.

    Args:
        then: that of the result, as ``Finished.made_by``.
        now: one of ``provenance.stamp`` for the stage ``fit``, or as read from a file of today.

    Returns:
        Libraries first, then code, then anything else that both say.
    """
    found = [
        Cause("library", name, was, is_now)
        for name, was, is_now in _pairs(then.get("versions"), now.get("versions"))
    ]
    own = [
        Cause("own code", name, was, is_now)
        for name, was, is_now in _pairs(*map(_by_name, (then.get("own_code"), now.get("own_code"))))
    ]
    # The fingerprint covers the user's own files too: it says nothing of odynn where they differ.
    if not own and _spelt(then.get("code_fingerprint")) not in ("", _spelt(now.get("code_fingerprint"))):
        versions = [_spelt(stamp.get("odynn_version")) for stamp in (then, now)]
        codes = [_spelt(stamp.get("code_fingerprint")) for stamp in (then, now)]
        said = [f"{version} ({code})" for version, code in zip(versions, codes, strict=True)]
        found.append(Cause("code", "odynn", *said))
    found += own
    for key in then:
        if key in now and key not in _NO_CAUSES | {"versions", "code_fingerprint"} and then[key] != now[key]:
            found.append(Cause(key, key.replace("_", " "), _spelt(then[key]), _spelt(now[key])))
    return found


def _by_name(own_code: object) -> dict[str, str] | list[dict[str, str]]:
    """Return hashes by ``file.py:ClassName``: a file in another folder is the same file."""
    if isinstance(own_code, list):
        return [_by_name(one) for one in own_code]
    found: dict[str, str] = {}
    for name, digest in sorted((own_code or {}).items()):
        tail = name.rpartition("/")[2]
        found[tail] = f"{found[tail]} {digest}" if tail in found else digest
    return found


def _pairs(then: object, now: object) -> Iterator[tuple[str, str, str]]:
    """Give the name and both values of what differs in two mappings; the first may be a list of several."""
    then = then if isinstance(then, list) else [then or {}]
    now = now if isinstance(now, Mapping) else {}
    for name in dict.fromkeys(name for one in then for name in one):
        values = list(dict.fromkeys(str(one[name]) for one in then if name in one))
        if values != [str(now.get(name, ""))]:
            yield name, " and ".join(values), str(now.get(name, ""))


def _spelt(value: object) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def find_data_causes(finished: Finished, now: Target) -> list[Cause]:
    """Return in what a target that was made again differs from the one that was fitted.

    Args:
        finished: with or without its target.h5.
        now: the target made again.

    Returns:
        The checksums that differ, or else what of the target does.
    """
    then = finished.target
    if then is None:
        hashes = finished.made_by.get("inputs", {})
        was, is_now = hashes.get("target", "") if isinstance(hashes, Mapping) else "", content_hash(now)
        return [] if was in ("", is_now) else [Cause("data", "the target's hash", was[:16], is_now[:16])]
    keys = [key for key in then.source if key.endswith("sha256")]
    changed = [key for key in keys if then.source[key] != now.source.get(key)]
    if changed:
        return [
            Cause(
                "data",
                f"{key} of {then.source.get('file', '')}",
                *(one.source.get(key, "")[:16] for one in (then, now)),
            )
            for key in changed
        ]
    differences = compare(then, now).differences
    return [Cause("data", f"{one.name}, {one.where}", one.then, one.now) for one in differences[:1]]
