"""Neuron models: the classes, the library, and the way to one's own.

``model`` has the classes of the public API, ``equations`` and ``kinetics`` what a model is declared
with, ``registry`` finds a model by name, ``template`` is an example to copy.
"""

from odynn.models.parameters import check_experiment, experiment_parameters
from odynn.models.registry import MODEL_PATHS, load_model

__all__ = ["MODEL_PATHS", "check_experiment", "experiment_parameters", "load_model"]
