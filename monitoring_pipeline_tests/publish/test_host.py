import os
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from monitoring_pipeline.publish.host import Host, read_gpus
from monitoring_pipeline.publish.metrics import Families

pynvml = pytest.importorskip("pynvml")


def values(families: Families) -> dict[str, float]:
    return {name: value for name, family in families.items() for value in family.samples.values()}


def test_the_machine_is_measured(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)):
        found = values(Host(tmp_path).read())
    for name in ("host_cpu_used_ratio", "host_memory_used_ratio", "host_disk_used_ratio"):
        assert 0 <= found[name] <= 1, name
    disk = os.statvfs(tmp_path)
    used = disk.f_blocks - disk.f_bfree
    assert found["host_disk_used_ratio"] == pytest.approx(used / (used + disk.f_bavail), abs=0.02)
    assert found["host_processes"] >= 1
    assert found["host_connections"] >= 1
    assert found["host_network_received_bytes_total"] >= 0


def test_two_who_ask_at_once_get_the_same_share_of_the_cpu_and_a_folder_that_is_not_there_fills_no_disk(
    tmp_path: Path,
) -> None:
    host = Host(tmp_path / "nowhere")
    first, second = values(host.read()), values(host.read())
    assert first["host_cpu_used_ratio"] == second["host_cpu_used_ratio"]
    assert "host_disk_used_ratio" not in first


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver with two GPUs, of which the second is shared in slices and does not count how busy it is."""

    def rates(number: int) -> SimpleNamespace:
        if number:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(gpu=37)

    answers: dict[str, Any] = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda number: number,
        "nvmlDeviceGetName": lambda number: f"card {number}",
        "nvmlDeviceGetMemoryInfo": lambda number: SimpleNamespace(used=3, total=4),
        "nvmlDeviceGetUtilizationRates": rates,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, answer)


def test_every_gpu_is_told_of_and_what_its_driver_does_not_count_is_absent(two_gpus: None) -> None:
    found = read_gpus()
    first, second = ((("gpu", str(number)), ("name", f"card {number}")) for number in range(2))
    assert found["gpu_used_ratio"].samples == {first: 0.37}
    assert found["gpu_memory_used_ratio"].samples == {first: 0.75, second: 0.75}


def test_without_a_driver_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    def nvmlInit() -> None:  # noqa: N802 - as the library calls it
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", nvmlInit)
    assert read_gpus() == {}
