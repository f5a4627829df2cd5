"""Finished experiments: done again and compared, and packed into one file with all that this needs."""

from odynn.reproduction.archive import Archived, pack, unpacked
from odynn.reproduction.causes import Cause, find_causes, find_data_causes
from odynn.reproduction.differences import TOLERANCE, Comparison, Difference, compare
from odynn.reproduction.finished import Finished, open_finished
from odynn.reproduction.refit import Refit, best_shards, shards_of

__all__ = [
    "TOLERANCE",
    "Archived",
    "Cause",
    "Comparison",
    "Difference",
    "Finished",
    "Refit",
    "best_shards",
    "compare",
    "find_causes",
    "find_data_causes",
    "open_finished",
    "pack",
    "recorded_target",
    "shards_of",
    "unpacked",
]
