import os
import stat
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from monitoring_pipeline.errors import StoreError
from monitoring_pipeline.stores.files import (
    digest,
    parquet_bytes,
    publish,
    publish_new,
    read_parquet,
    read_together,
    remove,
)


def written(folder: Path, *tables: pa.Table) -> list[Path]:
    paths = [folder / f"{place}.parquet" for place in range(len(tables))]
    for path, table in zip(paths, tables, strict=True):
        publish(path, parquet_bytes(table))
    return paths


def test_publishing_replaces_what_was_there_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for content in (b"old", b"new"):
        publish(path, content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_published_file_is_open_to_others_as_the_process_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        publish(tmp_path / "a", b"1")
        publish_new(tmp_path / "b", b"1")
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "b")] == [0o644, 0o644]


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, set[str]]]:
    """What has been flushed to the disk: its name, and the names a folder had then."""
    found: list[tuple[str, set[str]]] = []
    flush = os.fsync

    def noting(number: int) -> None:
        place = Path(f"/proc/self/fd/{number}").readlink()
        found.append((place.name, {each.name for each in place.iterdir()} if place.is_dir() else set()))
        flush(number)

    monkeypatch.setattr(os, "fsync", noting)
    return found


@pytest.mark.parametrize("way", [lambda path: publish(path, b"1", lasting=True), lambda path: publish_new(path, b"1")])
def test_a_lasting_file_its_name_and_the_names_of_new_folders_are_flushed(
    tmp_path: Path, flushed: list[tuple[str, set[str]]], way: Callable[[Path], object]
) -> None:
    way(tmp_path / "new" / "hour" / "file")
    assert [name.endswith(".tmp") for name, _ in flushed] == [True, False, False, False]
    assert flushed[1:] == [("hour", {"file"}), ("new", {"hour"}), (tmp_path.name, {"new"})]


def test_what_can_be_computed_again_is_not_flushed(tmp_path: Path, flushed: list[tuple[str, set[str]]]) -> None:
    publish(tmp_path / "file", b"1")
    assert flushed == []


def test_what_is_removed_for_good_is_flushed(tmp_path: Path, flushed: list[tuple[str, set[str]]]) -> None:
    publish(tmp_path / "file", b"1")
    remove(tmp_path / "file")
    assert flushed == [(tmp_path.name, set())]


def test_publishing_anew_keeps_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert publish_new(path, b"first")
    assert not publish_new(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_published_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="file"):
        publish(tmp_path / "file", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_same_table_gives_the_same_bytes_and_so_the_same_name() -> None:
    table = pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]})
    assert parquet_bytes(table) == parquet_bytes(pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]}))
    assert digest(parquet_bytes(table)) != digest(parquet_bytes(table.slice(1)))
    assert len(digest(b"")) == 20


def test_a_file_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone\.parquet: no such file"):
        read_parquet(tmp_path / "gone.parquet")
    (tmp_path / "half.parquet").write_bytes(parquet_bytes(pa.table({"a": [1]}))[:40])
    with pytest.raises(StoreError, match=r"half\.parquet: not a readable Parquet file .* Restore or remove it"):
        read_parquet(tmp_path / "half.parquet")


def test_folders_named_like_partitions_add_no_columns(tmp_path: Path) -> None:
    path = tmp_path / "model=m" / "hour=1" / "a.parquet"
    publish(path, parquet_bytes(pa.table({"a": [1], "b": [2]})))
    assert read_parquet(path).column_names == ["a", "b"]
    assert read_parquet(path, ["b"]).column_names == ["b"]


def test_no_files_are_no_table_and_several_are_one_with_the_columns_of_all(tmp_path: Path) -> None:
    assert read_together([]) is None
    paths = written(tmp_path, pa.table({"a": [1]}), pa.table({"a": [2.5], "b": ["x"]}), pa.table({"a": [None]}))
    found = read_together(paths[::-1])
    assert found is not None
    assert found.to_pylist() == [{"a": 1.0, "b": None}, {"a": 2.5, "b": "x"}, {"a": None, "b": None}]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, None], ["x", "2"], ["1", None, "x", "2"]),
        ([1.0, 2.5], ["3"], ["1", "2.5", "3"]),
        ([True], [0], ["true", "0"]),
        ([[1]], [1], ["[1]", "1"]),
        (["a"], pa.array(["b"]).dictionary_encode(), ["a", "b"]),
        ([Decimal("1.50")], ["x"], ["1.5", "x"]),
        ([2**62], [0.5], [str(2**62), "0.5"]),  # no float holds the first
    ],
)
def test_a_column_that_changes_its_type_becomes_text_and_leaves_the_others_alone(
    first: Any, second: Any, expected: list[str | None], tmp_path: Path
) -> None:
    sizes = len(first), len(second)
    tables = [pa.table({"x": part, "y": [0.5] * size}) for part, size in zip((first, second), sizes, strict=True)]
    found = read_together(written(tmp_path, *tables))
    assert found is not None
    assert found["x"].to_pylist() == expected
    assert found["y"].type == pa.float64()
