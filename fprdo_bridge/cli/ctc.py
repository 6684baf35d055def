"""fprdo ctc: test conditions, from a description to tables."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from fprdo_bridge.cli import console
from fprdo_bridge.cli.arguments import add_device_argument
from fprdo_bridge.cli.values import whole
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.text import printable

if TYPE_CHECKING:
    from fprdo_bridge.ctc.store import Store

HELP = "test conditions: encode, decode, judge by tasks, BD-rates with intervals"
DESCRIPTION = (
    "Runs test conditions: a description becomes bitstreams, task results and tables. What is done is kept in a "
    "store and never done again."
)
EXAMPLE = "fprdo ctc run kodak --data ~/pictures -o out/kodak"

_FAILED = 1  # exit status when jobs failed and the rest is there


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of this command."""
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, text: str, example: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=text, epilog=f"example: {example}", allow_abbrev=False)

    for name, text in (
        ("plan", "print jobs, time and disk of conditions, and what is missing; nothing is run"),
        ("run", "run what is not done yet, and print the tables"),
    ):
        one = verb(name, text, f"fprdo ctc {name} kodak --data ~/pictures -o out/kodak")
        one.add_argument("conditions", help="name of ready-made conditions (fprdo ctc list), or a .toml file")
        one.add_argument(
            "--data",
            type=Path,
            default=Path(),
            metavar="DIR",
            help="folder of the pictures and clips that the conditions name (default: here)",
        )
        one.add_argument(
            "-o",
            "--output",
            type=Path,
            required=name == "run",
            metavar="STORE",
            help="folder of all jobs that were ever done; several conditions may share one",
        )
        one.add_argument("--json", action="store_true", help="print the result as JSON")
        add_device_argument(one)
    one.add_argument("--jobs", type=whole, metavar="N", help="worker processes on this machine (default: one a core)")
    one.add_argument("--workers", type=whole, metavar="N", help="use a local Dask cluster of N workers")
    one.add_argument("--scheduler", metavar="ADDRESS", help="use the Dask scheduler at ADDRESS, like tcp://host:8786")

    one = verb("table", "print the tables of a store again and write its files", "fprdo ctc table out/kodak")
    one.add_argument("output", type=Path, metavar="STORE", help="folder that fprdo ctc run has filled")
    one.add_argument("conditions", nargs="?", help="name of the conditions, if the store has several")
    one.add_argument("--json", action="store_true", help="print the result as JSON")

    verb("list", "list the conditions that come with fprdo", "fprdo ctc list")


def run(options: argparse.Namespace) -> None:
    """Do what the verb says."""
    {"plan": _plan, "run": _run, "table": _table, "list": _list}[options.verb](options)


def _list(options: argparse.Namespace) -> None:
    from fprdo_bridge.ctc import conditions

    for name in conditions.ready_made():
        console.result(f"{name:14}{conditions.load(name).title}")


def _plan(options: argparse.Namespace) -> None:
    from fprdo_bridge.ctc.engine import duration
    from fprdo_bridge.ctc.run import plan
    from fprdo_bridge.ctc.store import Store
    from fprdo_bridge.report.ctc_table import format_plan

    store = Store(options.output, create=False) if options.output and options.output.exists() else None
    planned, totals = plan(options.conditions, options.data, store, console.say, options.device)
    rows = [(kind, count, totals.done[kind]) for kind, count in totals.jobs.items()]
    if options.json:
        console.result(
            json.dumps(
                {
                    "jobs": dict(totals.jobs),
                    "done": dict(totals.done),
                    "core_seconds": round(totals.seconds),
                    "disk_bytes": totals.disk,
                    "left_out": planned.problems,
                }
            )
        )
        return
    console.result(format_plan(rows, f"{duration(totals.seconds)} of one core", totals.disk, planned.problems))


def _run(options: argparse.Namespace) -> None:
    from fprdo_bridge.ctc.run import plan, run
    from fprdo_bridge.ctc.store import Store

    if options.scheduler and options.workers or options.jobs and (options.scheduler or options.workers):
        raise FprdoError("--jobs, --workers and --scheduler exclude one another; give one of them")
    for name, value in (("--jobs", options.jobs), ("--workers", options.workers)):
        if value is not None and not 1 <= value <= 4096:
            raise FprdoError(f"{name} {value}: use 1 to 4096")
    with Store(options.output) as store:
        planned, totals = plan(options.conditions, options.data, store, console.say, options.device)
        for problem in planned.problems:
            console.say(f"left out: {problem}")
        outcome = run(
            planned,
            totals,
            store,
            workers=options.jobs,
            scheduler=options.scheduler,
            dask=options.workers,
            say=console.say,
        )
        done = sum(outcome.ran.values())
        console.say(f"{done} jobs done, {outcome.before} were done before")
        _report(store, planned.conditions.name, options.json)
        for title, error in outcome.failed:
            console.say(f"failed: {title}: {error}")
        if outcome.failed:
            console.say(
                f"{len(outcome.failed)} jobs failed, {outcome.left_out} that need them were left out; "
                f"{store.folder}/failed/{planned.conditions.name}/ has their logs, and the next run tries them again"
            )
            raise SystemExit(_FAILED)


def _table(options: argparse.Namespace) -> None:
    from fprdo_bridge.ctc.results import manifests
    from fprdo_bridge.ctc.store import Store

    with Store(options.output, create=False) as store:
        there = manifests(store)
        name = options.conditions or (there[0] if len(there) == 1 else None)
        if name is None:
            raise FprdoError(
                f"{options.output}: holds {', '.join(there) or 'no run'}; "
                + ("name one of them" if there else "run fprdo ctc run first")
            )
        _report(store, name, options.json)


def _report(store: Store, name: str, as_json: bool) -> None:
    """Write the files of a run and print its tables."""
    from fprdo_bridge.ctc.results import read
    from fprdo_bridge.ctc.summary import Summary
    from fprdo_bridge.report import ctc_files
    from fprdo_bridge.report.ctc_sheet import write_sheet
    from fprdo_bridge.report.ctc_table import format_summary

    folder = store.folder / "tables" / name
    with ctc_files.PointsFile(folder / "points.csv") as points:
        results = read(store, name, points.write)
    summary = Summary(results, console.say)
    if not as_json:
        console.result(format_summary(summary))
    ctc_files.write_summary(folder, summary)
    ctc_files.write_machine(folder, summary)
    ctc_files.leave(results, folder)
    files = "points.csv, summary.csv, summary.json, jvet-*.xlsx, machine-*.csv"
    try:
        for anchor, variant in dict.fromkeys((one.anchor, one.variant) for one in summary.columns):
            write_sheet(
                folder / f"jvet-{ctc_files.slug(variant)}-against-{ctc_files.slug(anchor)}.xlsx",
                summary,
                variant,
                anchor,
            )
    except FprdoError as error:
        console.say(f"no workbook: {error}")
        files = files.replace("jvet-*.xlsx, ", "")
    if as_json:
        console.result((folder / "summary.json").read_text(encoding="utf-8"))
    else:
        console.result(f"\n{printable(str(folder))}/: {files}")
