"""Fitting: transforms, losses, sensitivities, optimisers, stages. This package imports no TensorFlow."""
