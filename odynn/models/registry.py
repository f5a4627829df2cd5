"""From a model's name in a config to its class."""

import hashlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path

from odynn.errors import ModelError, did_you_mean, listed
from odynn.models.model import BioNeuron

MODEL_PATHS = {
    "celegans": "odynn.models.celegans:CElegansNeuron",
    "leaky": "odynn.models.leaky:LeakyIntegrate",
    "hodghuxsimple": "odynn.models.hodghuxsimple:HodgHuxSimple",
    "hodgkinhuxley": "odynn.models.hodgkinhuxley:HodgkinHuxley",
    "pospischil": "odynn.models.pospischil:Pospischil",
    "cortical": "odynn.models.cortical:CorticalNeuron",
    "herg": "odynn.models.herg:HERG",
}


def load_model(name: str) -> type[BioNeuron]:
    """Return the model class that a config names.

    Args:
        name: a name of the library, or ``path/to/file.py:ClassName``.

    Returns:
        The class, checked to be simulable.

    Raises:
        ModelError: if there is no such model, or its file cannot be run.

    >>> load_model("leaky").__name__
    'LeakyIntegrate'
    """
    if name in MODEL_PATHS:
        module, _, attribute = MODEL_PATHS[name].partition(":")
        return getattr(importlib.import_module(module), attribute)
    path, separator, attribute = name.rpartition(":")
    if not separator or not path.endswith(".py"):
        raise ModelError(
            f"model: no model of the library is called '{name}'.{did_you_mean(name, MODEL_PATHS)} "
            f"Known: {listed(MODEL_PATHS)}. For your own model give path/to/file.py:ClassName."
        )
    return _checked(class_from_file(path, attribute), f"{path}:{attribute}")


def class_from_file(file: str | os.PathLike, attribute: str, key: str = "model") -> type:
    """Return a class of a Python file of the user's, which is run.

    Args:
        file: the path.
        attribute: name of the class.
        key: of the configuration that names it, for messages.

    Raises:
        ModelError: if there is no such file or class, or the file cannot be run.
    """
    path = Path(file)
    if not path.is_file():
        raise ModelError(f"{key}: there is no file {path}. Paths are relative to the config file.")
    # One module a file content: two experiments may use files of the same name.
    source = path.read_bytes()
    digest = hashlib.sha256(source + str(path).encode()).hexdigest()[:12]
    unique = f"odynn_user_code_{digest}"
    if unique not in sys.modules:
        spec = importlib.util.spec_from_file_location(unique, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[unique] = module
        try:
            # Not through the loader: its cache takes a file edited twice in one second for the old one.
            exec(compile(source, str(path), "exec"), module.__dict__)
        except Exception as error:
            del sys.modules[unique]
            place = _line_of(error, path)
            raise ModelError(
                f"{key}: running {path}{place} raised {type(error).__name__}: {error}. "
                "The file must import without error, in the environment that odynn runs in."
            ) from error
    module = sys.modules[unique]
    if not hasattr(module, attribute):
        classes = [
            key
            for key, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == unique
        ]
        raise ModelError(
            f"{key}: {path} defines no class '{attribute}'.{did_you_mean(attribute, classes)} "
            f"It defines: {listed(classes) or 'no class'}."
        )
    return getattr(module, attribute)


def _line_of(error: BaseException, path: Path) -> str:
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}," if error.lineno else ""
    lines = []
    traceback = error.__traceback__
    while traceback is not None:
        if Path(traceback.tb_frame.f_code.co_filename).resolve() == path.resolve():
            lines.append(traceback.tb_lineno)
        traceback = traceback.tb_next
    return f", line {lines[-1]}," if lines else ""


def _checked(model: type, name: str) -> type[BioNeuron]:
    if not (isinstance(model, type) and issubclass(model, BioNeuron)):
        raise ModelError(
            f"model: {name} must be a class derived from odynn.models.model.BioNeuron. Received: {model!r}."
        )
    for attribute, what in (
        ("default_params", "a dict of parameter values"),
        ("default_init_state", "the initial state"),
    ):
        if getattr(model, attribute) is None:
            raise ModelError(f"model: {name} lacks `{attribute}`, {what}.")
    if model.membrane is None and model.step is BioNeuron.step:
        raise ModelError(f"model: {name} needs `membrane = Membrane(...)` or a method `step(self, X, i)`.")
    return model
