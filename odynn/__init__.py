"""odynn fits biophysical neuron models to recorded traces, from many random starts at once.

The layers, each importing only from those before it: ``errors``, ``units``, ``data`` and ``spikes``;
``models``; ``recordings`` and ``simulation``; ``fitting`` and ``analysis``; ``stages``, one function for
each rule of the workflow; ``reproduction``; ``cli``. ``storage`` and ``plotting`` know the containers of
``data`` alone.

Importing odynn imports neither TensorFlow nor matplotlib.
"""

__version__ = "0.1.0"
