import numpy as np
import pyarrow as pa
from scipy.stats import chi2

from monitoring_pipeline.capture.sampling import id_hashes, sample_rows


def table(ids: list[str]) -> pa.Table:
    return pa.table({"id": ids, "x": list(range(len(ids)))})


def sampled(ids: list[str], limit: int) -> list[str]:
    found: list[str] = sample_rows(table(ids), id_column="id", limit=limit)["id"].to_pylist()
    return found


IDS = [f"request-{number}" for number in range(500)]


def test_the_hash_of_an_id_is_the_same_on_every_machine() -> None:
    from_b2sum = [0xF6FC42039FBA3776, 0x707438FAA779D508, 0xE4A6A0577479B2B4]  # printf '%s' … | b2sum -l 64
    assert id_hashes(["1", "Zürich", ""]).tolist() == from_b2sum
    assert id_hashes([]).tolist() == []


def test_a_sample_is_at_most_the_limit_and_everything_below_it() -> None:
    assert len(sampled(IDS, 100)) == 100
    assert sorted(sampled(IDS, 500)) == sorted(sampled(IDS, 9999)) == sorted(IDS)
    assert sampled([], 10) == sampled(IDS, 0) == []


def test_the_order_of_the_rows_changes_nothing() -> None:
    shuffled = np.random.default_rng(1).permutation(IDS).tolist()
    assert sampled(shuffled, 50) == sampled(IDS, 50)


def test_rows_keep_their_columns() -> None:
    sample = sample_rows(table(IDS), id_column="id", limit=7).to_pylist()
    assert all(row["id"] == f"request-{row['x']}" for row in sample)


def test_the_sample_of_a_union_is_the_sample_of_the_samples() -> None:
    parts = [IDS[:120], IDS[120:130], IDS[130:]]
    samples = [each for part in parts for each in sampled(part, 60)]
    assert sampled(samples, 60) == sampled(IDS, 60)


def test_every_row_has_the_same_chance() -> None:
    rows, limit, draws = 100, 20, 300
    hits = np.zeros(rows)
    for draw in range(draws):
        ids = [f"{draw}:{number}" for number in range(rows)]
        hits += np.isin(ids, sampled(ids, limit))
    share = limit / rows
    # Each row is in or out: Pearson's statistic is smaller by the chance of being out.
    statistic = ((hits - draws * share) ** 2).sum() / (draws * share * (1 - share))
    assert chi2.ppf(0.001, rows - 1) < statistic < chi2.ppf(0.999, rows - 1)
