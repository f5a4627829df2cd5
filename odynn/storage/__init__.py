"""The files that pass between the stages: their HDF5 schema, atomic writing, reading and merging."""

from odynn.atomic import atomic_path, atomic_text
from odynn.storage.checkpoint import Checkpoint, remove_checkpoints
from odynn.storage.files import (
    read_best,
    read_fit,
    read_simulated,
    read_starts,
    read_target,
    read_uncertainty,
    write_best,
    write_fit,
    write_simulated,
    write_starts,
    write_target,
    write_uncertainty,
)
from odynn.storage.merge import concatenate_fits
from odynn.storage.programs import kept_programs
from odynn.storage.reader import read_stamp
from odynn.storage.reuse import finished_starts
from odynn.storage.schema import SCHEMA_VERSION

__all__ = [
    "SCHEMA_VERSION",
    "Checkpoint",
    "atomic_path",
    "atomic_text",
    "concatenate_fits",
    "finished_starts",
    "kept_programs",
    "read_best",
    "read_fit",
    "read_simulated",
    "read_stamp",
    "read_starts",
    "read_target",
    "read_uncertainty",
    "remove_checkpoints",
    "write_best",
    "write_fit",
    "write_simulated",
    "write_starts",
    "write_target",
    "write_uncertainty",
]
