import numpy as np
from scipy import stats

from monitoring_pipeline.stats.larger_means import fisher_larger_share, welch_larger_mean


def test_a_larger_mean_is_tested_as_welch_does_where_the_group_varies_at_least_as_much_as_all_rows() -> None:
    random = np.random.default_rng(1)
    own, other = random.normal(0.3, 3.0, 80), random.normal(0.0, 2.9, 800)
    other *= 3.0 / other.std()
    own *= 3.2 / own.std()
    exact = stats.ttest_ind(own, other, equal_var=False, alternative="greater")
    t, p = welch_larger_mean(
        80, own.sum(), (own**2).sum(), other_rows=800, other_sums=other.sum(), other_squares=(other**2).sum()
    )
    assert float(t) <= exact.statistic
    assert np.isclose(float(t), exact.statistic, rtol=0.01)
    assert np.isclose(float(p), exact.pvalue, rtol=0.05)


def test_rows_that_happen_to_be_equal_are_not_certain_of_their_mean() -> None:
    # Nine tenths of all rows are 1, so that 50 rows are all 1 in five of a thousand samples.
    _, p = welch_larger_mean(50, 50.0, 50.0, other_rows=1000, other_sums=900.0, other_squares=900.0)
    assert p > 0.001


def test_the_bound_of_the_larger_share_is_never_below_fishers_test_and_close_beyond_three() -> None:
    random = np.random.default_rng(2)
    rows, total = random.integers(20, 3000, 400), 20_000
    whole = random.integers(50, 19_900, 400)
    spread = np.sqrt(rows * whole / total * (1 - whole / total) * (1 - rows / total))
    hits = np.minimum(np.round(rows * whole / total + random.uniform(-1, 7, 400) * spread), np.minimum(rows, whole))
    hits = np.maximum(hits, np.maximum(0, rows + whole - total))
    z, p = fisher_larger_share(hits, rows, other_hits=whole - hits, other_rows=total - rows)
    exact = stats.hypergeom.sf(hits - 1, total, whole, rows)
    assert (p >= exact * (1 - 1e-6)).all()
    far = z > 3
    assert far.sum() > 100
    assert (p[far] <= exact[far] * (1 + 1 / 9)).all()


def test_sides_without_rows_or_difference_prove_nothing() -> None:
    for hits, rows, other_hits, other_rows in ((0, 0, 5, 10), (5, 10, 0, 0), (10, 10, 90, 90), (0, 10, 0, 90)):
        z, p = fisher_larger_share(hits, rows, other_hits=other_hits, other_rows=other_rows)
        assert np.isnan(z)
        assert p == 1.0
    t, p = welch_larger_mean(5, 10.0, 20.0, other_rows=5, other_sums=10.0, other_squares=20.0)
    assert np.isnan(t)
    assert p == 1.0
    t, p = welch_larger_mean(1, 10.0, 100.0, other_rows=50, other_sums=0.0, other_squares=50.0)
    assert p == 1.0
