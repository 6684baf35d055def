"""What the engine of test conditions costs: time per job and memory, over many small pictures.

python tests/benchmarks/ctc_overhead.py FOLDER [PICTURES ...]: writes pictures of 64x64 into FOLDER and runs stock x264
on them, at four rate points with one cheap task; each number of pictures in a process of its own. Prints the
milliseconds of processor time that the process which plans and collects takes per job, and its largest size.
"""

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "ctc")]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])

from ctc_material import TWO, write_conditions, write_pictures

from fprdo_bridge.ctc.run import plan, run
from fprdo_bridge.ctc.store import Store

TEXT = TWO.partition("[maps.few]")[0] + '[[variants]]\nkind = "stock"\n'


def processor_seconds() -> float:
    """Of this process, without its workers."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(folder: Path, count: int) -> None:
    """Plan and run the conditions on so many pictures."""
    write_pictures(folder, count)
    path = write_conditions(folder, TEXT, "many")
    with Store(folder / "store") as store:
        started = processor_seconds()
        planned, totals = plan(str(path), folder, store)
        between, clock = processor_seconds(), time.perf_counter()
        outcome = run(planned, totals, store)
        ended, wall = processor_seconds(), time.perf_counter() - clock
    jobs = sum(outcome.ran.values())
    assert jobs == sum(totals.jobs.values()) and not outcome.failed
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{count} pictures, {jobs} jobs in {wall:.0f} s: {1e3 * (between - started) / jobs:.2f} ms a job to plan, "
        f"{1e3 * (ended - between) / jobs:.2f} ms a job to run and collect; memory {memory:.0f} MiB at most",
        flush=True,
    )


def main(folder: Path, counts: list[int]) -> None:
    """One process for each number of pictures."""
    for count in counts:
        place = folder.resolve() / str(count)
        place.mkdir(parents=True)
        code = f"import ctc_overhead as it; it.measure(it.Path({str(place)!r}), {count})"
        subprocess.run([sys.executable, "-c", code], cwd=HERE, check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]] or [10, 100, 1000])
