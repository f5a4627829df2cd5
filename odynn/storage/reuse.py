"""Fits of the same starts, found beside the file that is to be written."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from odynn.data import Fit, Starts
from odynn.errors import StorageError
from odynn.storage.files import read_fit
from odynn.storage.reader import read_stamp

log = logging.getLogger(__name__)

_SAME = ("code_fingerprint", "settings", "inputs", "versions", "precision")


def finished_starts(output: Path, starts: Starts, stamp: Mapping) -> list[Fit]:
    """Return fits of these starts that other shard files of the same folder hold.

    Shards are named by their range of starts, so after a change of the number of starts or the size
    of a shard the folder still has the old ones. A start's fit depends on no other than those of its
    pool, so a file serves, for the pools that it holds with the same starts, if its stamp says the same
    code, settings, target and libraries, and its starts began from the same values.

    Args:
        output: the shard file to be written.
        starts: its starts.
        stamp: what it is made from.

    Returns:
        Parts without a start in common.
    """
    size = stamp["settings"].get("starts", {}).get("pool", 1)
    parts, left = [], _pools(starts.ids, size)
    for path in sorted(output.parent.glob("[!.]*.h5")):
        if path == output or not left or _elsewhere(path.stem, starts.ids):
            continue
        try:
            theirs = read_stamp(path)
            if any(theirs.get(key) != stamp.get(key) for key in _SAME):
                continue
            fit = read_fit(path)
        except StorageError as error:
            log.warning("not reused: %s", error)
            continue
        same = {pool for pool, members in _pools(fit.ids, size).items() if left.get(pool) == members}
        found = fit.take(np.flatnonzero(np.isin(fit.ids // size, list(same))))
        if same and _same_values(found, starts.select(found.ids)):
            parts.append(found)
            left = {pool: members for pool, members in left.items() if pool not in same}
    return parts


def _elsewhere(name: str, ids: np.ndarray) -> bool:
    """Whether a shard's name says that it holds none of these starts: of thousands, few need to be opened."""
    shard = re.fullmatch(r"(\d+)-(\d+)", name)
    return shard is not None and not np.any((ids >= int(shard[1])) & (ids <= int(shard[2])))


def _pools(ids: np.ndarray, size: int) -> dict[int, set[int]]:
    """Return the starts of each pool."""
    pools: dict[int, set[int]] = {}
    for start in ids.tolist():
        pools.setdefault(start // size, set()).add(start)
    return pools


def _same_values(fit: Fit, starts: Starts) -> bool:
    return fit.parameters == starts.parameters and all(
        np.array_equal(fit.start_values[name], column) for name, column in starts.values.items()
    )
