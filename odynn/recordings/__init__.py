"""Recordings: reading them from files, and making them the target of a fit."""

from odynn.recordings.inspection import inspect
from odynn.recordings.reading import FORMATS, read
from odynn.recordings.suggestion import suggest_config
from odynn.recordings.targets import checksums_of, files_of, inspect_target, load_target, preflight, prepare

__all__ = [
    "FORMATS",
    "checksums_of",
    "files_of",
    "inspect",
    "inspect_target",
    "load_target",
    "preflight",
    "prepare",
    "read",
    "suggest_config",
]
