"""Statistics of whole rows against closed forms, scipy, scikit-learn, and the level of their own tests."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel

from monitoring_pipeline.stats.fitted_rows import fit_principal_components, folded_auc, reconstruction_errors
from monitoring_pipeline.stats.multivariate import (
    EXACT_ROWS,
    FREQUENCIES,
    PermutationTest,
    energy_distance,
    energy_permutation_test,
    maximum_mean_discrepancy,
    median_bandwidth,
    mmd_permutation_test,
)

Rows = NDArray[np.float64]
Test = Callable[..., PermutationTest]


def normal(rows: int, columns: int, *, seed: int, mean: float = 0.0) -> Rows:
    return np.random.default_rng(seed).normal(mean, 1, (rows, columns))


def kernel_means(reference: Rows, current: Rows, bandwidth: float) -> float:
    gamma = 1 / (2 * bandwidth**2)
    n, m = len(reference), len(current)
    within = (rbf_kernel(reference, gamma=gamma).sum() - n) / (n * (n - 1))
    beyond = (rbf_kernel(current, gamma=gamma).sum() - m) / (m * (m - 1))
    return float(within + beyond - 2 * rbf_kernel(reference, current, gamma=gamma).mean())


@pytest.mark.parametrize(("n", "m"), [(2, 2), (30, 70), (1200, 300)])
def test_the_discrepancy_is_that_of_scikit_learns_kernel(n: int, m: int) -> None:
    reference, current = normal(n, 4, seed=1), normal(m, 4, seed=2, mean=0.3)
    for bandwidth in (0.5, 2.0):
        found = maximum_mean_discrepancy(reference, current, bandwidth=bandwidth)
        assert found == pytest.approx(kernel_means(reference, current, bandwidth), abs=1e-12)


def test_two_normal_samples_are_as_discrepant_as_the_closed_form_says_and_without_bias() -> None:
    columns, bandwidth, shift = 3, 1.5, 0.5

    def expected(distance: float) -> float:
        width = bandwidth**2 + 2
        return float((bandwidth**2 / width) ** (columns / 2) * np.exp(-columns * distance**2 / (2 * width)))

    for mean in (0.0, shift):
        found = [
            maximum_mean_discrepancy(
                normal(40, columns, seed=2 * seed),
                normal(60, columns, seed=2 * seed + 1, mean=mean),
                bandwidth=bandwidth,
            )
            for seed in range(1000)
        ]
        error = np.std(found) / np.sqrt(len(found))
        assert np.mean(found) == pytest.approx(2 * expected(0) - 2 * expected(mean), abs=4 * error)
        assert error < 0.002


def test_random_features_are_as_near_the_kernel_as_their_bound_says() -> None:
    half = EXACT_ROWS // 2 + 1
    reference, current = normal(half, 3, seed=5), normal(half, 3, seed=6, mean=0.2)
    exact = kernel_means(reference, current, 2.0)
    found = [maximum_mean_discrepancy(reference, current, bandwidth=2.0, seed=seed) for seed in range(6)]
    bound = (2 * np.sqrt(exact + 2 / half) + 2 / (half - 1)) / np.sqrt(FREQUENCIES)
    assert np.std(found, ddof=1) <= bound
    assert np.mean(found) == pytest.approx(exact, abs=4 * np.std(found) / np.sqrt(len(found)))
    assert np.mean(found) == pytest.approx(exact, rel=0.1)
    shifted = mmd_permutation_test(reference, current, rng=np.random.default_rng(1), permutations=39)
    assert shifted.p_value == pytest.approx(1 / 40)


def test_the_bandwidth_is_the_median_distance_of_different_rows() -> None:
    rows = normal(300, 5, seed=3)
    squares = ((rows[:, None] - rows) ** 2).sum(axis=-1)[np.triu_indices(300, 1)]
    assert median_bandwidth(rows) == pytest.approx(np.sqrt(np.median(squares)), rel=1e-9)
    assert median_bandwidth(np.ones((10, 2))) == 1


@pytest.mark.parametrize("seed", range(3))
def test_the_energy_distance_of_one_column_is_scipys(seed: int) -> None:
    generator = np.random.default_rng(seed)
    reference, current = generator.normal(size=1500), generator.exponential(size=400)
    assert energy_distance(reference, current) == pytest.approx(stats.energy_distance(reference, current), rel=1e-9)


def test_the_energy_distance_of_many_columns_is_its_definition_and_the_tests_value_leaves_out_the_bias() -> None:
    reference, current = normal(40, 3, seed=1), normal(60, 3, seed=2, mean=0.5)
    within, beyond, across = (
        np.linalg.norm(first[:, None] - second, axis=-1)
        for first, second in ((reference, reference), (current, current), (reference, current))
    )
    squared = 2 * across.mean() - within.mean() - beyond.mean()
    assert energy_distance(reference, current) == pytest.approx(np.sqrt(squared), rel=1e-9)
    unbiased = 2 * across.mean() - within.sum() / (40 * 39) - beyond.sum() / (60 * 59)
    found = energy_permutation_test(reference, current, rng=np.random.default_rng(1))
    assert found.value == pytest.approx(unbiased, rel=1e-9)


@pytest.mark.parametrize("test", [mmd_permutation_test, energy_permutation_test])
def test_without_a_change_permutation_p_values_are_uniform(test: Test) -> None:
    found = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        found.append(test(rng.normal(size=(25, 3)), rng.normal(size=(35, 3)), rng=rng, permutations=39).p_value)
    shares = np.bincount(np.round(np.array(found) * 40).astype(int), minlength=41)[1:].reshape(8, 5).sum(axis=1)
    assert stats.chisquare(shares).pvalue > 0.001
    assert (np.array(found) <= 0.05).sum() <= stats.binom.ppf(0.999, 400, 0.05)


@pytest.mark.parametrize("test", [mmd_permutation_test, energy_permutation_test])
def test_a_permuted_value_is_the_statistic_of_the_permuted_rows(test: Test) -> None:
    reference, current = normal(6, 2, seed=1), normal(5, 2, seed=2, mean=2.0)
    pooled = np.concatenate([reference, current])
    found = test(reference, current, rng=np.random.default_rng(3), permutations=200)
    again = []
    for seed in range(2000):
        order = np.random.default_rng(seed).permutation(11)
        again.append(test(pooled[order[:6]], pooled[order[6:]], rng=np.random.default_rng(1), permutations=1).value)
    assert found.ordinary == pytest.approx(
        np.quantile(again, 0.95), abs=2 * (np.quantile(again, 0.97) - np.quantile(again, 0.93))
    )
    assert found.value > found.ordinary


def test_a_side_without_enough_rows_has_no_value() -> None:
    rng = np.random.default_rng(1)
    assert np.isnan(maximum_mean_discrepancy([1.0], [1.0, 2.0]))
    assert np.isnan(energy_distance([], [1.0, 2.0]))
    assert np.isnan(mmd_permutation_test([1.0], [1.0, 2.0], rng=rng)).all()
    assert np.isnan(energy_permutation_test([1.0, 2.0], [1.0], rng=rng)).all()


@pytest.mark.parametrize("share", [0.3, 0.65, 0.999])
def test_principal_components_and_errors_are_scikit_learns(share: float) -> None:
    rows = normal(500, 6, seed=1) @ np.diag([5, 3, 2, 1, 0.5, 0.1]) @ stats.ortho_group.rvs(6, random_state=1)
    theirs, ours = PCA(n_components=share, svd_solver="full").fit(rows), fit_principal_components(rows, share=share)
    assert len(ours.directions) == theirs.n_components_
    assert ours.share == pytest.approx(theirs.explained_variance_ratio_.sum(), rel=1e-9)
    errors = np.linalg.norm(rows - theirs.inverse_transform(theirs.transform(rows)), axis=1)
    np.testing.assert_allclose(reconstruction_errors(rows, ours), errors, atol=1e-9)


def test_equal_rows_have_no_components_and_everything_else_is_error() -> None:
    plane = fit_principal_components(np.ones((10, 3)))
    assert (len(plane.directions), plane.share) == (0, 1)
    assert reconstruction_errors([[1.0, 1.0, 3.0]], plane).tolist() == [2.0]


def test_the_area_is_the_weighted_mean_of_scikit_learns_and_its_variance_twice_mann_whitneys() -> None:
    rng = np.random.default_rng(4)
    labels, folds = rng.random(500) < 0.4, rng.integers(0, 3, 500)
    scores = np.round(rng.normal(0.1 * labels, 1), 1)  # with ties
    found = folded_auc(scores, labels, folds)
    sizes = np.bincount(folds)
    areas = [roc_auc_score(labels[folds == fold], scores[folds == fold]) for fold in range(3)]
    assert found.auc == pytest.approx(np.average(areas, weights=sizes), rel=1e-12)
    alone = folded_auc(scores, labels, np.zeros(500))
    first, second = scores[labels], scores[~labels]
    z = stats.norm.isf(
        stats.mannwhitneyu(first, second, alternative="greater", method="asymptotic", use_continuity=False).pvalue
    )
    assert alone.p_value == pytest.approx(stats.norm.sf(z / np.sqrt(2)), rel=1e-9)


def test_scores_that_say_nothing_are_no_evidence_and_one_label_is_no_answer() -> None:
    assert folded_auc(np.ones(10), np.arange(10) < 5, np.arange(10) % 2) == (0.5, 1.0)
    assert np.isnan(folded_auc([1.0, 2.0], [1, 1], [0, 0])).all()


def test_cross_validated_areas_of_two_equal_samples_alarm_at_their_level_because_the_variance_is_doubled() -> None:
    # The difference of the means is the simplest classifier there is; the docstring tells of boosted trees.
    labels, folds = np.arange(300) % 2 == 1, np.arange(300) // 2 % 5
    p_values = []
    for seed in range(2000):
        rows, scores = normal(300, 5, seed=seed), np.zeros(300)
        for fold in range(5):
            train = folds != fold
            direction = rows[train & labels].mean(axis=0) - rows[train & ~labels].mean(axis=0)
            scores[~train] = rows[~train] @ direction
        p_values.append(folded_auc(scores, labels, folds).p_value)
    alarms = int((np.array(p_values) <= 0.05).sum())
    assert alarms <= stats.binom.ppf(0.999, 2000, 0.05)
    undoubled = stats.norm.sf(stats.norm.isf(p_values) * np.sqrt(2))
    assert (undoubled <= 0.05).mean() > 0.1
