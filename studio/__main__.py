"""The one door: `attune`, `python -m studio`, and the frozen application."""

import multiprocessing
import sys
from pathlib import Path


def main() -> int:
    """Execute the command line of this process and return its exit status."""
    multiprocessing.freeze_support()
    arguments = sys.argv[1:]
    # Commands that processes of Attune start themselves; not for people.
    if arguments[:1] == ["worker"]:
        from studio.worker import main as work

        return work(arguments[1])
    if arguments[:1] == ["spare"]:
        from studio.worker import wait

        return wait(Path(arguments[1]), int(arguments[2]))
    if arguments[:1] == ["verify"]:
        from studio.exporters.verification import main as verify

        return verify(arguments[1:])
    from studio.cli import main as command_line

    return command_line(arguments)


if __name__ == "__main__":
    sys.exit(main())
