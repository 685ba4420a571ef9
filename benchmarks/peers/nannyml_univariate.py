"""NannyML: its univariate calculator as it comes, Jensen-Shannon with ten chunks and thresholds from the reference."""

import warnings

import pandas as pd
from footings import Verdicts, run
from nannyml import UnivariateDriftCalculator


def fit(path: str) -> UnivariateDriftCalculator:
    """Return the calculator, fitted."""
    rows = pd.read_parquet(path)
    calculator = UnivariateDriftCalculator(column_names=list(rows))
    calculator.fit(rows)
    return calculator


def compare(reference: UnivariateDriftCalculator, path: str) -> Verdicts:
    """Return which columns alert in most of their chunks."""
    found = reference.calculate(pd.read_parquet(path)).filter(period="analysis").to_df()
    alerts = found.xs("alert", axis=1, level=2).droplevel(1, axis=1)
    return {name: bool(alerts[name].mean() > 0.5) for name in alerts}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run(fit, compare)
