"""Builds the frozen application and proves that it works: python packaging/build.py [--out DIR] [--skip-proof]

Makes one folder with one executable for window, command line and worker, then runs the demo with it in an empty
workspace. Needs the extras `starter` and `build`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE.parent / "dist")
    parser.add_argument("--skip-proof", action="store_true", help="only build")
    arguments = parser.parse_args()
    application = build(arguments.out.absolute())
    size = sum(file.stat().st_size for file in application.rglob("*") if file.is_file())
    print(f"{application}: {size / 1e9:.2f} GB")
    return 0 if arguments.skip_proof else prove(application)


def build(out: Path) -> Path:
    """Freeze Attune and return the application's folder."""
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(
            [sys.executable, "-m", "PyInstaller", "--noconfirm", "--distpath", out, "--workpath", work,
             HERE / "attune.spec"],
            check=True,
        )  # fmt: skip
    return out / "attune"


def prove(application: Path) -> int:
    """Run the demo with the frozen application, far from this checkout, and show the window for a moment."""
    executable = application / ("attune.exe" if sys.platform == "win32" else "attune")
    with tempfile.TemporaryDirectory() as folder:
        # Nothing of this installation may help: no PATH to its Python, no variables of its own.
        kept = ("HOME", "USERPROFILE", "SYSTEMROOT", "TEMP", "LANG", "DISPLAY", "QT_QPA_PLATFORM")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        environment |= {"ATTUNE_WORKSPACE": str(Path(folder) / "workspace")}
        began = time.monotonic()
        done = subprocess.run(
            [executable, "demo", "--no-window", "--json"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        if done.returncode:
            return done.returncode
        result = json.loads(done.stdout.splitlines()[-1])
        accuracy, verified = result["evaluate"]["metrics"]["accuracy"], result["export"]["verified"]
        print(f"demo: {time.monotonic() - began:.0f} s, accuracy {accuracy:.3f}, export verified: {verified}")
        pictures = Path(folder) / "pictures"
        shown = subprocess.run([executable, "pictures", "--out", pictures], cwd=folder, env=environment)
        n_pictures = len(list(pictures.glob("*.png"))) if pictures.is_dir() else 0
        print(f"window: {n_pictures} pictures")
        shutil.rmtree(pictures, ignore_errors=True)
        return 0 if verified and shown.returncode == 0 and n_pictures else 1


if __name__ == "__main__":
    sys.exit(main())
