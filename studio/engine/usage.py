"""What a worker takes of the machine, with the processes that it started: memory, processor, GPU, disk."""

import contextlib
import shutil
import sys
import time
from typing import Any

import psutil

from studio.core.events import Resources
from studio.core.rundir import RunDir

_CHILDREN_SECONDS = 5.0  # looking for new ones goes through all processes of the machine


class Usage:
    """Measures this process and its children; the processor and the disk from one call to the next."""

    def __init__(self, run: RunDir):
        self._run = run
        self._process = psutil.Process()
        self._children: list[psutil.Process] = []
        self._next_look, self._last = 0.0, time.monotonic()
        self._disk = _disk_bytes(self._process)
        self._process.cpu_percent()

    def measure(self) -> Resources:
        """Return what is used now; asks no GPU that torch has not taken into use itself."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _CHILDREN_SECONDS
            self._look_for_children()
        rss, cpu = self._process.memory_info().rss, self._process.cpu_percent()
        for child in self._children:
            with contextlib.suppress(psutil.Error):  # it may have ended
                rss, cpu = rss + child.memory_info().rss, cpu + child.cpu_percent()
        return Resources(rss_bytes=rss, cpu_percent=cpu, **self._measure_disk(now), **_measure_gpu())

    def _look_for_children(self) -> None:
        found = {child.pid: child for child in self._process.children(recursive=True)}
        known = {child.pid: child for child in self._children if found.get(child.pid) == child}
        self._children = list((found | known).values())  # a known one knows when it was last asked

    def _measure_disk(self, now: float) -> dict[str, Any]:
        measured: dict[str, Any] = {}
        with contextlib.suppress(OSError):
            measured["disk_free_bytes"] = shutil.disk_usage(self._run.path).free
        before, self._disk = self._disk, _disk_bytes(self._process)
        seconds, self._last = max(now - self._last, 1e-3), now
        if before and self._disk:
            names = ("read_bytes_per_second", "written_bytes_per_second")
            measured |= {name: (b - a) / seconds for name, a, b in zip(names, before, self._disk, strict=True)}
        return measured


def _disk_bytes(process: psutil.Process) -> tuple[int, int] | None:
    """Return what a process has read from and written to disks, or None where the system does not count it."""
    try:
        counted = process.io_counters()
    except (AttributeError, psutil.Error, OSError):  # macOS has none, a container may forbid it
        return None
    return counted.read_bytes, counted.write_bytes


def _measure_gpu() -> dict[str, Any]:
    cuda = sys.modules.get("torch.cuda")
    # A question to a GPU that is not in use would take memory there; torch may still be on its way in.
    if not hasattr(cuda, "is_initialized") or not cuda.is_initialized():
        return {}
    measured: dict[str, Any] = {"gpu_bytes": sum(cuda.memory_reserved(at) for at in range(cuda.device_count()))}
    with contextlib.suppress(Exception):  # needs the driver's library and its Python side, which may be missing
        measured["gpu_percent"] = float(cuda.utilization())
    return measured
