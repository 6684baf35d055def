"""Reading what a run left: whose fault an error is."""

from __future__ import annotations

import errno
import json
import os
import resource

import pytest

from fprdo_bridge.ctc import results
from fprdo_bridge.ctc.store import Store
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.report.ctc_files import PointsFile

CONDITIONS = """
[[sets]]
name = "small"
folder = "small"

[[encoders]]
encoder = "x264"
qp = [22, 27, 32, 37]

[[variants]]
kind = "stock"
"""
HEADER = {
    "conditions": CONDITIONS,
    "problems": [],
    "software": {},
    "tasks": {"picture": {"task": "picture", "arguments": {}}},
}
POINT = {
    "encoder": "x264",
    "variant": "stock",
    "value": 22.0,
    "encode": "e" * 64,
    "decode": "d" * 64,
    "scores": {},
    "map": None,
}
LINE = {
    "item": "p",
    "set": "small",
    "frames": 1,
    "fps": "30",
    "width": 64,
    "height": 64,
    "originals": {},
    "points": [POINT],
}


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as one:
        write(one, HEADER, LINE)
        yield one


def write(store: Store, *lines: object) -> None:
    """The manifest of conditions that are called two."""
    path = store.folder / "runs" / "two" / "manifest.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def without(record: dict, name: str) -> dict:
    return {key: value for key, value in record.items() if key != name}


def test_a_job_that_is_not_done_is_missing(store):
    rows = []
    found = results.read(store, "two", rows.append)
    assert (
        found.missing == 1
        and list(found.sets["small"].bits) == [("x264", "stock")]
        and list(found.tasks) == ["picture"]
    )
    assert [(row["item"], row["value"]) for row in rows] == [("p", 22.0)]
    assert results.manifest_lines(store, "two") == [LINE] and results.maps_of(store, "two") == {}


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), ValueError("mine"), KeyError("mine")]
)
def test_an_error_of_the_caller_is_not_the_manifests(store, error):
    def each(row):
        raise error

    with pytest.raises(type(error)) as caught:
        results.read(store, "two", each)
    assert caught.value is error


def test_a_full_disk_under_the_points(store, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "points.csv"
    try:
        with (
            pytest.raises(FprdoError, match=r"points\.csv: cannot be written .*disk has room"),
            PointsFile(path) as file,
        ):
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
            results.read(store, "two", file.write)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [store.folder]


@pytest.mark.parametrize(
    "lines",
    [
        (),
        (5,),
        ({},),
        (without(HEADER, "tasks"),),
        (HEADER | {"conditions": "= no TOML"},),
        (HEADER, 5),
        (HEADER, without(LINE, "points")),
        (HEADER, LINE | {"fps": "fast"}),
        (HEADER, LINE | {"points": [without(POINT, "encode")]}),
    ],
)
def test_a_damaged_manifest(store, lines):
    write(store, *lines)
    with pytest.raises(FprdoError, match=r"manifest\.jsonl: is damaged .*run fprdo ctc run again"):
        results.read(store, "two")


def test_a_manifest_that_is_no_json(store):
    (store.folder / "runs" / "two" / "manifest.jsonl").write_text(json.dumps(HEADER) + "\n{half")
    for look in (results.read, results.maps_of, results.manifest_lines):
        with pytest.raises(FprdoError, match="is damaged"):
            look(store, "two")


def test_conditions_that_were_not_run(store):
    for look in (results.read, results.maps_of, results.manifest_lines):
        with pytest.raises(FprdoError, match="holds no run of three; there are: two"):
            look(store, "three")
