"""Trainers that do what trainers do in production: fit, print, fail, loop, eat memory, return what is no model.

Add one here for a test of what becomes of it; they run in a process of their own, so keep heavy imports inside. Keep
expectations out: they belong in the tests.
"""

# ruff: noqa: T201 - what they print is told

import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline


def fit(rows: "pd.DataFrame") -> "Pipeline":
    """Return the deployments' model, fitted: here, because a process of its own loads this file in no time."""
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    plan, numbers = ["plan"], ["usage", "tenure"]
    columns = ColumnTransformer(
        [("plan", OneHotEncoder(handle_unknown="ignore"), plan), ("numbers", StandardScaler(), numbers)]
    )
    return Pipeline([("columns", columns), ("model", LogisticRegression())]).fit(rows[numbers + plan], rows["actual"])


def fit_backwards(rows: "pd.DataFrame") -> "Pipeline":
    """Return a model that believes the opposite of what is true."""
    return fit(rows.assign(actual=1 - rows["actual"]))


def average(rows: "pd.DataFrame", sample_weight: Any = None) -> Any:
    """Fit what predicts the mean, which takes no time."""
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior").fit(rows[["x"]], rows["actual"].astype(int), sample_weight)


def talkative(rows: "pd.DataFrame") -> Any:
    print("x" * 100_000)
    print(f"fitting {len(rows)} rows", file=sys.stderr)
    return average(rows)


def raising(rows: "pd.DataFrame") -> Any:
    print("about to divide")
    return 1 / 0


def looping(rows: "pd.DataFrame") -> Any:
    """Loop for ever, as does a process it starts; both say who they are."""
    child = os.fork()
    os.write(1, f"process {os.getpid()}\n".encode())  # as a whole: print may say line and end apart
    while True:
        time.sleep(0.01 if child else 0.02)


def eating(rows: "pd.DataFrame") -> Any:
    eaten = []
    while True:
        eaten.append(bytearray(100_000_000))


def aborting(rows: "pd.DataFrame") -> Any:
    os.abort()


def leaving(rows: "pd.DataFrame") -> Any:
    sys.exit(0)


def speechless(rows: "pd.DataFrame") -> Any:
    return "a model"


class Mine:
    """A model of a type that nobody trusts."""

    def __init__(self) -> None:
        self.classes = [0, 1]

    def predict_proba(self, rows: "pd.DataFrame") -> Any:
        import numpy as np

        return np.full((len(rows), 2), 0.5)


def own_type(rows: "pd.DataFrame") -> Any:
    return Mine()
