import json

import numpy as np
import pytest

from monitoring_pipeline.describe.columns import (
    COUNTED_CATEGORIES,
    EXACT_VALUES,
    FINE_BINS,
    KNOWN_CATEGORIES,
    CategoricalBins,
    Column,
    ColumnKind,
    FloatArray,
    NumericBins,
    categorical_bins,
    numeric_bins,
)
from monitoring_pipeline.describe.kernel import bin_counts
from monitoring_pipeline_tests.traffic import column


def bins_of(values: FloatArray, groups: int = 10) -> tuple[NumericBins, list[int]]:
    """Bins, and how many of the values themselves fall into each coarse bin and none."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    bins = numeric_bins(ordered, groups=groups)
    counts, _, _ = bin_counts(ordered, bins)
    return bins, np.bincount(bins.groups, weights=counts, minlength=bins.group_count + 1).astype(int).tolist()


def place(bins: NumericBins, value: float) -> int:
    """The coarse bin of one value; `group_count` means never seen."""
    counts, _, _ = bin_counts(np.array([value]), bins)
    return int(bins.groups[counts.argmax()])


def test_many_values_give_a_hundred_fine_bins_and_ten_coarse_ones_of_equal_mass() -> None:
    bins, counts = bins_of(np.random.default_rng(1).normal(size=10_000))
    outliers = 4  # edges where they begin, by either rule and on either side
    assert (bins.size, bins.group_count) == (FINE_BINS + outliers + 2, 10)
    assert counts == [1000] * 10 + [0]
    assert abs(bins.center) < 0.05
    assert bins.scale == pytest.approx(1, abs=0.05)
    assert [place(bins, value) for value in (-99.0, 99.0)] == [0, 9]


def test_a_constant_has_one_bin_and_everything_else_is_unseen() -> None:
    bins, counts = bins_of(np.full(50, 3.7))
    assert (bins.group_count, counts, bins.center, bins.scale) == (1, [50, 0], 3.7, 0.0)
    assert [place(bins, value) for value in (3.7, np.nextafter(3.7, 4), 3.0, 4.0, -1e140)] == [0, 1, 1, 1, 1]
    assert bins.describe_group(0) == "= 3.7"
    assert bins.describe_group(1) == "never seen in the reference"


def test_few_distinct_values_each_have_their_bin_and_the_gaps_are_unseen() -> None:
    values = np.repeat(np.arange(EXACT_VALUES) * 2.0 - 10, 5)
    bins, counts = bins_of(values)
    assert counts == [5] * EXACT_VALUES + [0]
    assert place(bins, -10.0) == 0
    assert place(bins, -9.0) == place(bins, 1000.0) == bins.group_count
    assert [bins.describe_group(group) for group in (0, 5)] == ["= -10", "= 0"]


def test_a_value_that_makes_up_most_rows_has_a_bin_of_its_own() -> None:
    generator = np.random.default_rng(2)
    rain = np.concatenate([np.zeros(9000), generator.exponential(size=1000)])
    bins, counts = bins_of(rain)
    assert counts[place(bins, 0.0)] == 9000
    assert place(bins, 1e-9) != place(bins, 0.0)
    assert bins.describe_group(0) == "(-inf, 0]"
    assert bins.describe_group(bins.group_count - 1).endswith(", inf)")
    assert sum(counts[1:]) == 1000


def test_ranges_are_written_half_open_with_their_ends() -> None:
    bins, _ = bins_of(np.arange(1000.0), groups=4)
    assert [bins.describe_group(group) for group in range(4)] == [
        "(-inf, 249.75)",
        "[249.75, 499.5)",
        "[499.5, 749.25)",
        "[749.25, inf)",
    ]


def test_the_ends_of_a_range_are_values_where_they_can_be() -> None:
    edges = np.array([0.0, np.nextafter(0.0, 1), 1.0, np.nextafter(1.0, 2), 5.0])
    bins = NumericBins(edges, np.array([0, 1, 2, 2, 3, 3]), 4, 0.0, 1.0)
    assert [bins.describe_group(group) for group in range(4)] == ["(-inf, 0)", "= 0", "(0, 1]", "(1, inf)"]


def test_a_column_without_a_value_knows_none() -> None:
    bins, counts = bins_of(np.array([]))
    assert (bins.group_count, counts) == (0, [0])
    assert place(bins, 1.0) == place(bins, -1.0) == 0
    assert bins.describe_group(0) == "never seen in the reference"


@pytest.mark.parametrize("largest", [1e140, 5e-324])
def test_huge_and_tiny_values_give_finite_bins_that_survive_json(largest: float) -> None:
    for values in (np.array([-largest, largest]), np.linspace(-1, 1, 999) * largest):
        bins, counts = bins_of(values)
        assert sum(counts) == len(values)
        text = json.dumps(bins.to_json(), allow_nan=False)
        again = NumericBins.from_json(json.loads(text))
        assert (again.edges == bins.edges).all()
        assert (again.groups == bins.groups).all()
        assert (again.group_count, again.center, again.scale) == (bins.group_count, bins.center, bins.scale)


def counted(categories: int) -> dict[str, int]:
    return {f"c{number:05d}": categories - number for number in range(categories)}


def test_few_categories_each_have_their_bin() -> None:
    bins = categorical_bins({"b": 5, "a": 5, "c": 9}, groups=10)
    assert bins.categories == ("c", "a", "b")
    assert (bins.group_count, bins.complete, bins.groups.tolist()) == (3, True, [0, 1, 2, 3])
    assert [bins.describe_group(group) for group in range(4)] == ["= c", "= a", "= b", "never seen in the reference"]


def test_many_categories_share_the_last_bin_and_the_rare_ones_are_still_known() -> None:
    bins = categorical_bins(counted(150), groups=10)
    assert (len(bins.categories), len(bins.others)) == (COUNTED_CATEGORIES, 50)
    assert bins.group_count == 10
    assert bins.groups.tolist() == [*range(9), *[9] * (COUNTED_CATEGORIES - 9 + 1)]
    assert bins.describe_group(8) == "= c00008"
    assert bins.describe_group(9) == "all other known categories"


def test_a_group_for_every_category_is_not_more_groups_than_categories() -> None:
    bins = categorical_bins(counted(25), groups=30)
    assert (bins.group_count, bins.groups.tolist()) == (25, list(range(26)))
    assert categorical_bins(counted(25), groups=1).group_count == 1


def test_beyond_what_can_be_remembered_the_names_are_not_complete() -> None:
    assert categorical_bins(counted(KNOWN_CATEGORIES), groups=10).complete
    bins = categorical_bins(counted(KNOWN_CATEGORIES + 1), groups=10)
    assert not bins.complete
    assert len(bins.categories) + len(bins.others) == KNOWN_CATEGORIES


def test_a_column_without_categories_knows_none() -> None:
    bins = categorical_bins({}, groups=10)
    assert (bins.size, bins.group_count) == (1, 0)


@pytest.mark.parametrize("kind", ColumnKind)
def test_a_column_comes_back_from_json(kind: ColumnKind) -> None:
    spec = column("Zürich", ["2026-11-20T13:00:00Z"] if kind is ColumnKind.DATETIME else [1, 0, 1], kind)
    again = Column.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False)))
    assert again.to_json() == spec.to_json()
    assert isinstance(again.bins, NumericBins if kind.is_binned else CategoricalBins)
    assert again.is_ordered == kind.is_binned
