"""Evidently: its drift preset with PSI for every column. It keeps the rows of the reference, not a summary."""

import warnings

import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
from footings import Verdicts, run


def compare(reference: pd.DataFrame, path: str) -> Verdicts:
    """Return the verdicts by the preset's own threshold."""
    found = Report([DataDriftPreset(method="psi")]).run(pd.read_parquet(path), reference).dict()
    columns = [metric for metric in found["metrics"] if "column" in metric["config"]]
    return {each["config"]["column"]: bool(each["value"] > each["config"]["threshold"]) for each in columns}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run(pd.read_parquet, compare)
