"""The machine this runs on, and its GPUs, as metrics.

Add what else can fill up here. Keep limits out: they belong in the rules of whoever reads the metrics.
"""

import re
from contextlib import suppress
from pathlib import Path
from time import monotonic

from monitoring_pipeline.publish.metrics import Families

APART_S = 1.0
"""Readings of the CPU that are closer together than this say nothing: of two who ask at once, both get the first's."""

SOCKETS = (Path("/proc/net/sockstat"), Path("/proc/net/sockstat6"))
"""How many sockets Linux has in use. psutil would list them and look into every process: 15 ms of CPU for 90."""


class Host:
    """What is read of the machine; `folder` is on the disk that counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cpu, self._read_at = 0.0, 0.0

    def read(self) -> Families:
        import psutil

        found = Families()
        if monotonic() - self._read_at >= APART_S:
            # The share since the last reading; the first one has none before it, and waits for a moment.
            self._cpu = psutil.cpu_percent(interval=None if self._read_at else 0.1) / 100
            self._read_at = monotonic()
        found.add("host_cpu_used_ratio", self._cpu)
        found.add("host_memory_used_ratio", psutil.virtual_memory().percent / 100)
        if self._folder.exists():
            found.add("host_disk_used_ratio", psutil.disk_usage(str(self._folder)).percent / 100)
        found.add("host_processes", len(psutil.pids()))
        if (network := psutil.net_io_counters()) is not None:
            found.add("host_network_received_bytes_total", network.bytes_recv)
            found.add("host_network_sent_bytes_total", network.bytes_sent)
        if said := "".join(path.read_text() for path in SOCKETS if path.exists()):
            found.add("host_connections", sum(map(int, re.findall(r"(?m)^(?:TCP|UDP)6?: inuse (\d+)", said))))
        return found


def read_gpus() -> Families:
    """Return what the driver says of each GPU; nothing where there is no driver, or the package pynvml is missing."""
    found = Families()
    try:
        import pynvml
    except ImportError:
        return found
    try:
        pynvml.nvmlInit()
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return found
    try:
        for number in range(pynvml.nvmlDeviceGetCount()):
            gpu = pynvml.nvmlDeviceGetHandleByIndex(number)
            labels = {"gpu": str(number), "name": pynvml.nvmlDeviceGetName(gpu)}
            memory = pynvml.nvmlDeviceGetMemoryInfo(gpu)
            found.add("gpu_memory_used_ratio", memory.used / memory.total, **labels)
            with suppress(pynvml.NVMLError_NotSupported):  # one that is shared in slices does not count
                found.add("gpu_used_ratio", pynvml.nvmlDeviceGetUtilizationRates(gpu).gpu / 100, **labels)
    finally:
        pynvml.nvmlShutdown()
    return found
