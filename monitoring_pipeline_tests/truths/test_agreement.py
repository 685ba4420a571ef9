"""Agreement against scikit-learn, and clustered errors against statsmodels and their own promise."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from monitoring_pipeline.stats.agreement import clustered_mean, cohens_kappa


@pytest.mark.parametrize("classes", [2, 4])
def test_kappa_is_that_of_scikit_learn(classes: int) -> None:
    random = np.random.default_rng(classes)
    first = random.integers(0, classes, 500)
    second = np.where(random.random(500) < 0.6, first, random.integers(0, classes, 500))
    counts = np.zeros((classes, classes))
    np.add.at(counts, (first, second), 1)
    assert float(cohens_kappa(counts)) == pytest.approx(cohen_kappa_score(first, second))


def test_kappa_is_not_known_where_chance_alone_agrees_always() -> None:
    assert np.isnan(cohens_kappa([[[10, 0], [0, 0]], [[0, 0], [0, 0]]])).all()


def test_the_error_of_clusters_is_that_of_statsmodels() -> None:
    random = np.random.default_rng(3)
    clusters = random.integers(0, 12, 400)
    values = random.normal(0, 1, 12)[clusters] + random.normal(0, 1, 400)
    fitted = sm.OLS(values, np.ones(400)).fit(cov_type="cluster", cov_kwds={"groups": clusters})
    found = clustered_mean(values, clusters)
    assert (found.mean, found.error, found.freedom) == pytest.approx((fitted.params[0], fitted.bse[0], 11))


def test_rows_that_are_each_a_cluster_have_the_usual_error_and_one_cluster_has_none() -> None:
    values = np.random.default_rng(4).normal(size=50)
    assert clustered_mean(values, np.arange(50)).error == pytest.approx(stats.sem(values))
    assert math.isnan(clustered_mean(values, np.zeros(50)).error)
    assert math.isnan(clustered_mean([], []).mean)


def test_intervals_over_days_hold_the_mean_as_often_as_they_say_where_rows_of_a_day_move_together() -> None:
    random, days = np.random.default_rng(5), np.repeat(np.arange(14), 30)
    held = 0
    for _ in range(2000):
        found = clustered_mean(random.normal(0, 1, 14)[days] + random.normal(0, 1, 420), days)
        held += abs(found.mean) <= stats.t.ppf(0.975, found.freedom) * found.error
    assert held / 2000 == pytest.approx(0.95, abs=0.016)
