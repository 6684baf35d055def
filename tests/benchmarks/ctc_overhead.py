"""What the engine of test conditions costs: time per job and memory, over many small pictures.

python tests/benchmarks/ctc_overhead.py FOLDER [PICTURES]: writes pictures of 64x64 into FOLDER and runs x264 on them,
stock and with weights of a network that costs nothing; prints milliseconds per job beside what the jobs themselves
took, and the largest size of the process that plans and collects.
"""

import os
import resource
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent / "ctc")]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])

from ctc_material import TWO, write_conditions, write_pictures

from fprdo_bridge.ctc.run import plan, run
from fprdo_bridge.ctc.store import Store

TEXT = (
    TWO.partition("[[variants]]")[0]
    + """
[[variants]]
kind = "stock"
[[variants]]
kind = "idse"
tau = 1
[[tasks]]
task = "features"
extractor = "ctc_material:edges"
"""
)


def main(folder: Path, count: int) -> None:
    write_pictures(folder, count)
    path = write_conditions(folder, TEXT, "many")
    with Store(folder / "store") as store:
        started = time.perf_counter()
        planned, totals = plan(str(path), folder, store)
        seconds = time.perf_counter() - started
        jobs = sum(totals.jobs.values())
        print(f"{count} pictures, {jobs} jobs: planned in {seconds:.1f} s, {1e3 * seconds / jobs:.2f} ms a job")
        started, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        outcome = run(planned, totals, store)
        wall, now = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
        cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        inside = sum(
            store.record(path.parent.name)["provenance"]["seconds"]
            for path in store.folder.glob("jobs/*/*/record.json")
        )
        print(
            f"ran {sum(outcome.ran.values())} jobs, {len(outcome.failed)} failed, in {wall:.1f} s; inside of jobs {inside:.1f} s"  # noqa: E501
        )
        print(f"the engine's own time: {1e3 * cpu / jobs:.2f} ms a job; memory {now.ru_maxrss / 1024:.0f} MiB at most")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
