"""The device that TensorFlow computes on, set up once in a job's own process."""

import logging

import tensorflow as tf

log = logging.getLogger(__name__)


def set_up_device() -> str:
    """Take one thread per computation, GPU memory as needed, and return what the device is.

    Blocks of starts are computed side by side, so a computation by itself needs no threads. Does
    nothing where TensorFlow is already running, as in an interactive session.
    """
    gpus = tf.config.list_physical_devices("GPU")
    try:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError:
        log.debug("TensorFlow was running already; its settings are kept")
    if not gpus:
        return "CPU"
    return ", ".join(
        tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus
    )
