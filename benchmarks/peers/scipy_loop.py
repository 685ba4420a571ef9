"""No tool at all: pandas, numpy and scipy in a loop over the columns, as one writes it in an afternoon.

Five numbers a column: KS and Wasserstein of the rows, JS and PSI of ten quantile bins (of categories), chi-square.
"""

import numpy as np
import pandas as pd
from footings import Verdicts, run
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, ks_2samp, wasserstein_distance

SMALLEST = 1e-4
"""What most recipes put into an empty bin."""


def compare(reference: pd.DataFrame, path: str) -> Verdicts:
    """Return whether the PSI of a column is above 0.2, the usual threshold."""
    current = pd.read_parquet(path)
    return {str(name): distances(reference[name], current[name])["psi"] > 0.2 for name in reference}


def distances(reference: pd.Series, current: pd.Series) -> dict[str, float]:
    """Return the distances of one column."""
    first, second = reference.dropna(), current.dropna()
    if pd.api.types.is_numeric_dtype(reference):
        found = {"ks": ks_2samp(first, second).pvalue, "wasserstein": wasserstein_distance(first, second)}
        edges = np.unique(np.quantile(first, np.linspace(0, 1, 11)))
        edges[0], edges[-1] = -np.inf, np.inf
        counts = np.stack([np.histogram(first, edges)[0], np.histogram(second, edges)[0]])
    else:
        found = {}
        both = pd.concat([first.value_counts(), second.value_counts()], axis=1).fillna(0)
        counts = both.to_numpy().T
    p, q = np.maximum(counts / counts.sum(axis=1, keepdims=True), SMALLEST)
    found["js"] = jensenshannon(p, q, base=2)
    found["psi"] = float(np.sum((q - p) * np.log(q / p)))
    found["chi_square"] = chi2_contingency(counts[:, counts.sum(axis=0) > 0]).pvalue
    return found


if __name__ == "__main__":
    run(pd.read_parquet, compare)
