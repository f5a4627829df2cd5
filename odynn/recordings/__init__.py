"""Recordings: reading them from files, and making them the target of a fit."""

from odynn.recordings.reading import FORMATS, read
from odynn.recordings.targets import load_target, preflight, prepare

__all__ = ["FORMATS", "load_target", "preflight", "prepare", "read"]
