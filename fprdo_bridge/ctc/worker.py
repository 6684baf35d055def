"""A worker process: python -m fprdo_bridge.ctc.worker. Messages are lines of JSON on standard input and output.

In: {"store": folder, "scratch": folder, "path": module search path}, then jobs (Job.message). Out: for each job
{"key", "record"} or {"key", "error", "log"}. It ends when its standard input does, or with its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fprdo_bridge.ctc.execute import Executor

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Serve until standard input ends."""
    parent = os.getppid()
    with suppress(OSError, AttributeError):  # Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it ends us
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no answer

    from fprdo_bridge.ctc.execute import Executor, limit_threads

    limit_threads()
    hello = json.loads(sys.stdin.readline() or "null")
    if hello is None:
        return
    sys.path[:] = hello["path"]
    jobs = Path(hello["store"]) / "jobs"
    executor = Executor(Path(hello["scratch"]), lambda key: jobs / key[:2] / key)
    for line in sys.stdin:
        message = json.loads(line)
        answer = answer_to(executor, message)
        answers.write(json.dumps(answer, allow_nan=False) + "\n")
        answers.flush()


def answer_to(executor: Executor, message: dict[str, Any]) -> dict[str, Any]:
    """Do a job; what the parent gets."""
    from fprdo_bridge.errors import FprdoError

    try:
        record = executor.run(message)
        json.dumps(record, allow_nan=False)
        return {"key": message["key"], "record": record}
    except FprdoError as error:
        return {"key": message["key"], "error": str(error), "log": traceback.format_exc()}
    except (ValueError, TypeError) as error:  # a plug-in's result that is no JSON
        return {
            "key": message["key"],
            "error": f"{message['how'].get('title', '')}: its result is no JSON ({error})",
            "log": traceback.format_exc(),
        }


if __name__ == "__main__":
    main()
