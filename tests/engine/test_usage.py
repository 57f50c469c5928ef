"""What a worker says of the memory, the processor and the disk that it and its children take."""

import subprocess
import sys
import time
from pathlib import Path

from studio.core.rundir import RunDir
from studio.engine.usage import Usage

HUNGRY = "held = bytearray(200 << 20)\nimport time\nend = time.time() + 60\nwhile time.time() < end: pass"


def test_children_count_as_long_as_they_live(tmp_path: Path) -> None:
    usage = Usage(RunDir(tmp_path))
    alone = usage.measure()
    assert alone.rss_bytes > 10 << 20 and alone.disk_free_bytes and alone.gpu_bytes is None
    child = subprocess.Popen([sys.executable, "-c", HUNGRY])
    try:
        usage._next_look, deadline = 0.0, time.monotonic() + 30
        while time.monotonic() < deadline:
            time.sleep(0.2)
            usage._next_look = 0.0
            both = usage.measure()
            if both.rss_bytes > alone.rss_bytes + (200 << 20) and both.cpu_percent > 5:
                break
        assert both.rss_bytes > alone.rss_bytes + (200 << 20) and both.cpu_percent > 5
    finally:
        child.kill()
        child.wait()
    assert usage.measure().rss_bytes < alone.rss_bytes + (100 << 20)
