"""popmon: histograms of the current rows against those of the reference, all of its comparisons, its traffic lights.

It wants a time; all rows get the same, so that they are one window as for everybody else.
"""

import logging
import os
import warnings
from contextlib import redirect_stderr
from pathlib import Path

import pandas as pd
from footings import Verdicts, run
from histogrammar.dfinterface.make_histograms import make_histograms
from popmon.config import Settings
from popmon.pipeline.metrics import df_stability_metrics


def read(path: str) -> pd.DataFrame:
    """Return the rows, all of one time."""
    return pd.read_parquet(path).assign(hour=pd.Timestamp("2026-01-01"))


def fit(path: str) -> dict:
    """Return the histograms of the reference."""
    return make_histograms(read(path), time_axis="hour", ret_specs=True)[0]


def compare(reference: dict, path: str) -> Verdicts:
    """Return which columns have a light that is not green; columns it skips have no verdict."""
    settings = Settings(time_axis="hour", reference_type="external")
    found = df_stability_metrics(read(path), settings=settings, reference=reference)
    lights = found["traffic_lights"]
    return {name: bool((lights[name].select_dtypes("number") > 0).any(axis=None)) for name in lights}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):  # progress bars
        run(fit, compare)
