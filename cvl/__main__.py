"""The process of the `cvl` command, which `python -m cvl` is too: its signals, its exit codes.

Nothing of weight is imported before it runs, because every worker process begins with this module.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from cvl.errors import EXIT_FAILED, Cancelled, CvlError, DiskError


def _stop(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Cancelled("stopped; what is done stays done", hint="run the same command again to go on")


def main() -> NoReturn:
    """Run the command line and end the process with its exit code; no traceback for a user's mistake."""
    for wish in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wish, _stop)
    try:
        _run()
    except SystemExit as end:
        if "RANK" in os.environ and isinstance(end.code, int):
            # Libraries of a training have threads of their own, which now and then abort a process that tidies up.
            _leave(end.code)
        raise


def _run() -> NoReturn:
    try:
        from cvl.cli import app

        app()
    except CvlError as error:
        _fail(error)
    except BrokenPipeError:
        # The reader of our output went away, as in `cvl sources | head`.
        sys.stderr.close()
        sys.exit(EXIT_FAILED)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        problem = f"{where}{error.strerror or error}"
        _fail(DiskError(problem, hint="check that path and its permissions, or choose another --root"))
    sys.exit(0)


def _fail(error: CvlError) -> NoReturn:
    from cvl.output.console import print_error

    print_error(error)
    if isinstance(error, Cancelled):
        # Threads that wait for a silent server would hold the process back; what they have is on the disk.
        _leave(error.exit_code)
    sys.exit(error.exit_code)


def _leave(code: int) -> NoReturn:
    """Ends the process at once; whatever it has to say has been said."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
