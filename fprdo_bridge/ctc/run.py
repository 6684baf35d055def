"""Plan and run conditions into a store."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from fprdo_bridge import __version__
from fprdo_bridge.ctc import coding, conditions, engine
from fprdo_bridge.ctc.engine import Engine, Outcome, Pool, Totals
from fprdo_bridge.ctc.material import Hashes
from fprdo_bridge.ctc.plan import Plan, make_plan
from fprdo_bridge.ctc.pool import LocalPool
from fprdo_bridge.ctc.store import Store
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.processes import cores

_EVERY = 5.0  # seconds between two lines while files are hashed


def plan(
    name: str,
    data: Path,
    store: Store | None,
    say: Callable[[str], None] = lambda line: None,
    device: str | None = None,
) -> tuple[Plan, Totals]:
    """What conditions would do, and what of it a store has already.

    Parameters
    ----------
    name : of ready-made conditions, or a .toml file
    data : folder to which the conditions' file names are relative
    device : where networks run, if not where the conditions say

    Raises
    ------
    FprdoError
        The conditions are wrong, or nothing of them could be run; `say` has said why.
    """
    last: float | None = None

    def progress(count: int) -> None:
        nonlocal last
        last = last or time.monotonic()
        if time.monotonic() - last >= _EVERY:
            last = time.monotonic()
            say(f"looked at {count} pictures and clips")

    chosen = conditions.load(name)
    if device is not None:
        chosen = replace(chosen, device=device)
    found = make_plan(chosen, data, Hashes(store.folder / "hashes.json" if store else None), progress)
    totals = engine.count(found.groups(), store)
    if not totals.jobs["encode"]:
        for problem in found.problems:
            say(f"left out: {problem}")
        raise FprdoError(
            f"{name}: nothing can be run; "
            + ("see the lines above" if found.problems else "no variant fits an encoder")
        )
    return found, totals


def run(
    planned: Plan,
    totals: Totals,
    store: Store,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    dask: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Run what is not done yet.

    Parameters
    ----------
    workers : processes on this machine; None for one a core
    scheduler : address of a Dask scheduler instead
    dask : workers of a local Dask cluster instead

    Raises
    ------
    FprdoError
        The scheduler cannot be reached, or the store cannot be written.
    """
    keep(planned, store)
    store.begin(planned.conditions.name)
    todo = sum(totals.jobs.values()) - sum(totals.done.values())
    if not todo:
        return Outcome(before=sum(totals.done.values()))
    for remark in planned.remarks:
        say(remark)
    pool: Pool
    if scheduler or dask:
        from fprdo_bridge.ctc.cluster import DaskPool

        pool = DaskPool(store, scheduler=scheduler, workers=dask)
    else:
        pool = LocalPool(store.folder, store.workplace, workers or cores())
    say(
        f"{todo} jobs, about {engine.duration(totals.seconds / max(1, pool.count))} with {pool.count} "
        f"worker{'s' if pool.count > 1 else ''}"
    )
    try:
        return Engine(store, pool, say, totals.seconds, todo).run(planned.groups())
    finally:
        pool.close()


def keep(planned: Plan, store: Store) -> None:
    """Write down what the tables of a run need, so that they can be made without its pictures."""
    software = {"fprdo": __version__}
    for encoder in planned.conditions.encoders:
        try:
            software[encoder.name] = coding.title(encoder.encoder)
        except FprdoError:
            continue
    header = {
        "conditions": planned.conditions.source,
        "problems": planned.problems,
        "software": software,
        "tasks": {title: asdict(setting) for title, (_, setting, _) in planned.tasks.items()},
    }
    engine.write_manifest(store.folder / "runs" / planned.conditions.name / "manifest.jsonl", planned.groups(), header)
