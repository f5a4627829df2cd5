"""Recordings: reading them from files, and making them the target of a fit."""

from odynn.recordings.reading import FORMATS, read
from odynn.recordings.targets import files_of, load_target, preflight, prepare

__all__ = ["FORMATS", "files_of", "load_target", "preflight", "prepare", "read"]
