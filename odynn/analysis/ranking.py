"""The order of starts, best first."""

import numpy as np

from odynn.data import Fit, Status


def ranked(fit: Fit) -> Fit:
    """Return the fit with its start axis sorted by loss; diverged starts last, ties by number."""
    lost = (fit.status == Status.DIVERGED) | ~np.isfinite(fit.loss)
    return fit.take(np.lexsort((fit.ids, np.where(lost, np.inf, fit.loss), lost)))
