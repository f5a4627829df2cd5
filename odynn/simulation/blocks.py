"""Running a computation over many starts in blocks of one width.

A block is as wide as the caches like, so that each computation is compiled once and a start is computed by
the same instructions whatever its neighbours and however many they are. The blocks of a call run side
by side, one a thread. The last one is padded with copies of its last start. A GPU takes as many starts
as keep it busy, in few widths, so that shards of different sizes find the same programs compiled.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import tensorflow as tf

from odynn.simulation.device import on_gpu

# Lanes of sweep x start in a block: what runs forward is happy with many, while derivatives and traces fill
# the caches. Measured on one core, million neuron-steps/s at 128, 256 and 512 lanes, squid axon and
# C. elegans neuron: loss 239, 285, 277 and 169, 236, 230; adjoint 71, 77, 81 and 50, 59, 62.
FORWARD, TRACES, DERIVATIVES = 1024, 512, 256
_VECTOR = 16
# Lanes that keep the largest GPU of today busy.
_GPU_LANES = 1 << 18
# Vectors at least: loops over fewer are unrolled, and half as fast a block as this; the last bits of those
# over a single one differ.
_FEWEST = 3


@dataclass(frozen=True)
class Blocks:
    """How the starts of a computation are divided.

    Attributes:
        width: starts of a block.
        threads: blocks computed at once.
    """

    width: int
    threads: int = 1

    @classmethod
    def of(cls, sweeps: int, starts: int, threads: int = 1, lanes: int = FORWARD) -> "Blocks":
        """Return blocks of about so many lanes, as many as there are threads or a multiple of it.

        Args:
            sweeps: simulated for each start.
            starts: how many are to come.
            threads: blocks computed at once.
            lanes: sweep x start of a block.

        Returns:
            Blocks whose width is a multiple of the vector width; on a GPU a power of two.
        """
        if on_gpu():
            most = max(64, 1 << (_GPU_LANES // sweeps).bit_length() - 1)
            return cls(min(most, max(64, 1 << (starts - 1).bit_length())), threads)
        rounds = _over(starts, threads * max(1, lanes // sweeps))
        return cls(_whole(_over(starts, threads * rounds)), threads)

    def within(self, bytes_per_start: int, budget: int) -> "Blocks":
        """Return the same, as narrow as a budget of memory asks.

        Args:
            bytes_per_start: memory that the computation takes for one start.
            budget: bytes, for all threads together.

        Returns:
            Blocks of at most this width; never below the narrowest there are.
        """
        most = budget // max(1, bytes_per_start * self.threads) // _VECTOR * _VECTOR
        return replace(self, width=min(self.width, _whole(most)))

    def run(
        self, compute: Callable[..., tuple[tf.Tensor, ...]], columns: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """Apply a computation to arrays whose last axis is the start, block by block.

        Args:
            compute: function of one tensor an array, each with last axis ``width``, to a tuple of
                tensors with last axis ``width``.
            columns: arrays with a common last axis [start].

        Returns:
            One array an output of ``compute``, the blocks joined along the last axis, without padding.
        """
        number = columns[0].shape[-1]
        joined: list[np.ndarray] = []
        lock = threading.Lock()

        def block(first: int) -> None:
            places = np.minimum(np.arange(first, first + self.width), number - 1)
            results = compute(*(tf.constant(np.ascontiguousarray(column[..., places])) for column in columns))
            with lock:
                if not joined:
                    joined.extend(
                        np.empty((*result.shape[:-1], number), result.dtype.as_numpy_dtype)
                        for result in results
                    )
            kept = min(self.width, number - first)
            for whole, result in zip(joined, results, strict=True):
                whole[..., first : first + kept] = result.numpy()[..., :kept]

        firsts = range(0, number, self.width)
        each = _pool(self.threads).map if self.threads > 1 and len(firsts) > 1 else map
        for _ in each(block, firsts):
            pass
        return joined


def _whole(starts: int) -> int:
    """Return a number of starts, rounded up to whole vectors, but not fewer than a block must have."""
    return max(_FEWEST, _over(starts, _VECTOR)) * _VECTOR


def _over(number: int, divisor: int) -> int:
    return -(-number // divisor)


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    """Return threads that are kept: the first call of TensorFlow in a new one takes milliseconds."""
    return ThreadPoolExecutor(threads, thread_name_prefix="block")
