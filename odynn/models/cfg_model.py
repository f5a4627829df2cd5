"""The registry of the original library: lists of the models, and the one used by default."""

from odynn.models.celegans import CElegansNeuron
from odynn.models.registry import MODEL_PATHS, load_model

models_name = list(MODEL_PATHS)
"""Names of the models of the library, as a config gives them."""

models = [load_model(name) for name in models_name]
"""The classes, in the same order."""

NEURON_MODEL = CElegansNeuron
"""The model used where none is named."""
