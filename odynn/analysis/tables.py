"""Fits as tables."""

import pandas as pd

from odynn.data import Cause, Fit, Status


def fit_table(fit: Fit) -> pd.DataFrame:
    """Return one line a start, in the order of the fit: rank, losses, status, fitted parameters.

    What each term adds to the loss is there if there are several.
    """
    parts = fit.loss_parts if len(fit.loss_parts) > 1 else {}
    columns = {
        "rank": range(1, len(fit.ids) + 1),
        "start": fit.ids,
        "status": [Status(status).name.lower() for status in fit.status],
        "cause": [Cause(cause).name.lower() for cause in fit.cause],
        "iterations": fit.iterations,
        "start_loss": fit.start_loss,
        "loss": fit.loss,
        **{f"loss_{name}": column for name, column in parts.items()},
        **{f"rmse_train_{state}": column for state, column in fit.rmse_train.items()},
        **{f"rmse_test_{state}": column for state, column in fit.rmse_test.items()},
        **fit.values,
    }
    return pd.DataFrame(columns)
