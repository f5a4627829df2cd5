"""Losses: what a fit minimises, a weighted sum of terms.

``terms`` says what a term is, of either kind; ``elementwise`` and the modules beside it have those of
the library, ``registry`` their names in a configuration, ``combination`` makes a loss of them. This
package imports no TensorFlow: terms compute with operators and ``odynn.models.kinetics``.
"""

from odynn.fitting.losses.combination import Loss, check_observed, make_loss
from odynn.fitting.losses.registry import KINDS
from odynn.fitting.losses.terms import ElementwiseTerm, SweepTerm

__all__ = ["KINDS", "ElementwiseTerm", "Loss", "SweepTerm", "check_observed", "make_loss"]
