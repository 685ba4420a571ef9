import stat
from pathlib import Path

import pytest

from monitoring_pipeline_tests.binaries import REQUIRED, require


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_a_program_on_the_path_is_found_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path, elsewhere = program(tmp_path / "bin" / "serverd"), program(tmp_path / "opt" / "serverd")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert require("serverd", str(elsewhere)) == on_path


def test_the_newest_of_several_versions_is_taken(tmp_path: Path) -> None:
    program(tmp_path / "15" / "serverd")
    newest = program(tmp_path / "17" / "serverd")
    assert require("serverd", str(tmp_path / "none" / "serverd"), str(tmp_path / "*" / "serverd")) == newest


def test_a_missing_program_skips_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRED, raising=False)
    with pytest.raises(pytest.skip.Exception, match="serverd is not installed"):
        require("serverd", str(tmp_path / "serverd"))


def test_a_missing_program_fails_where_programs_are_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match=f"serverd is not installed.*{REQUIRED}"):
        require("serverd")


def test_a_file_that_cannot_be_run_is_not_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(REQUIRED, raising=False)
    (tmp_path / "serverd").write_text("not a program")
    with pytest.raises(pytest.skip.Exception):
        require("serverd", str(tmp_path / "serverd"))
