"""Options of XLA, TensorFlow's compiler, for the CPU. Nothing here imports TensorFlow."""

import os

# Vectors as wide as the processor has; and a loop over time as one piece of machine code, of which it makes
# dozens of pieces otherwise, to run them one after the other at every step. Measured on two cores with
# AVX-512, million neuron-steps/s of a squid axon in blocks of 128 lanes, without, with the first, with both:
# loss 76, 99, 239; adjoint 20, 24, 71.
_OPTIONS = (
    "--xla_cpu_prefer_vector_width=512",
    "--xla_backend_extra_options=xla_cpu_small_while_loop_byte_threshold=1000000000",
)


def set_options() -> None:
    """Add the options to the environment variable ``XLA_FLAGS``, but for those that it names already.

    XLA reads the variable when it compiles for the first time in a process.
    """
    given = os.environ.get("XLA_FLAGS", "")
    added = [option for option in _OPTIONS if option.partition("=")[0] not in given]
    os.environ["XLA_FLAGS"] = " ".join([given, *added]).strip()
