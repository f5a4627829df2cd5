"""Stimuli, and the batched simulator. Import the modules; this package imports no TensorFlow."""
