"""Running a computation over many starts in blocks of one fixed width.

A block is as wide as the caches like (measured: 128 lanes of sweep x start on CPU, a third of the
time of 1000 lanes), so that each kernel is compiled once and a start is computed by the same
instructions whatever its neighbours and however many they are. The last block is padded with
copies of its last start. A GPU takes as many starts as keep it busy, in few widths, so that shards of
different sizes find the same programs compiled.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from odynn.simulation.device import on_gpu

_LANES = 128
_VECTOR = 16
# Lanes that keep the largest GPU of today busy.
_GPU_LANES = 1 << 18
# Two vectors at least: a loop over a single one is compiled to other instructions, whose last bits differ.
_FEWEST = 2 * _VECTOR


def block_width(sweeps: int, starts: int) -> int:
    """Return how many starts a block holds.

    Args:
        sweeps: number of sweeps simulated for each start.
        starts: number of starts to come.

    Returns:
        A multiple of the vector width, the smaller the more sweeps a start has; on a GPU a power of two.
    """
    if on_gpu():
        most = max(64, 1 << (_GPU_LANES // sweeps).bit_length() - 1)
        return min(most, max(64, 1 << (starts - 1).bit_length()))
    return max(_FEWEST, min(_round_up(starts, _VECTOR), _round_up(_LANES // sweeps, _VECTOR)))


def narrowed(width: int, bytes_per_start: int, budget: int) -> int:
    """Return the width of a block whose starts together take no more memory than a budget.

    Args:
        width: as the computation alone would like it, of ``block_width``.
        bytes_per_start: memory that the computation takes for one start.
        budget: bytes.

    Returns:
        A multiple of the vector width, at most ``width``; never below the narrowest block there is.
    """
    most = budget // max(1, bytes_per_start) // _VECTOR * _VECTOR
    return min(width, max(_FEWEST, most))


def _round_up(number: int, step: int) -> int:
    return max(1, -(-number // step)) * step


def run_blocks(
    compute: Callable[..., tuple[tf.Tensor, ...]], columns: list[np.ndarray], width: int, threads: int = 1
) -> list[np.ndarray]:
    """Apply a computation to arrays whose last axis is the start, block by block.

    Args:
        compute: function of one tensor an array, each with last axis ``width``, to a tuple of
            tensors with last axis ``width``.
        columns: arrays with a common last axis [start].
        width: width of a block.
        threads: blocks computed at once.

    Returns:
        One array an output of ``compute``, the blocks joined along the last axis, without padding.
    """
    number = columns[0].shape[-1]

    def block(first: int) -> list[np.ndarray]:
        places = np.minimum(np.arange(first, first + width), number - 1)
        results = compute(*(tf.constant(np.ascontiguousarray(column[..., places])) for column in columns))
        kept = min(width, number - first)
        return [result.numpy()[..., :kept] for result in results]

    firsts = range(0, number, width)
    if threads > 1 and len(firsts) > 1:
        # The first block alone: it compiles, and the others then find it compiled.
        parts = [block(firsts[0])]
        with ThreadPoolExecutor(threads) as pool:
            parts += pool.map(block, firsts[1:])
    else:
        parts = [block(first) for first in firsts]
    return [np.concatenate(pieces, axis=-1) for pieces in zip(*parts, strict=True)]


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
