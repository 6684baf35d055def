"""A folder of finished jobs: each is there whole or not at all, found by its key, with its provenance.

    store.json              version of the layout
    jobs/ab/abcd.../        record.json and the job's files
    failed/NAME/abcd.json   what a job of the conditions NAME said that failed in their last run
    runs/NAME/, tables/NAME/  the last plan of the conditions NAME, and the tables made from it
    locks/abcd....lock      of jobs in progress
    tmp/                    of runs in progress, each with a lock; what a killed run left is swept by the next

Two processes may work on one store: a job belongs to the one that holds its lock, and a lock dies with its process.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.files import replacing, sweep

FORMAT = 1


class Store:
    """A store in a folder.

    Parameters
    ----------
    folder : made if it is missing; an empty one becomes a store, anything else must be one already
    create : False for reading: a missing or empty folder is an error then

    Raises
    ------
    FprdoError
        The folder holds something else, is a store of another version, or cannot be written.
    """

    def __init__(self, folder: Path, create: bool = True):
        self.folder = folder
        self._locks: dict[str, int] = {}
        self._lease: int | None = None
        self._failures: Path | None = None
        self._work: Path | None = None
        stamp = folder / "store.json"
        try:
            found = json.loads(stamp.read_text(encoding="utf-8"))["fprdo-store"]
        except FileNotFoundError:
            found = None
        except NotADirectoryError:
            raise FprdoError(f"{folder}: is no folder; name another for the results") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FprdoError(f"{stamp}: is no store's ({error}); name another folder") from None
        if found is None:
            self._make(create, stamp)
        elif found != FORMAT:
            raise FprdoError(
                f"{folder}: is a store of version {found}, this program's is {FORMAT}; name another folder"
            )

    def _make(self, create: bool, stamp: Path) -> None:
        if not create:
            raise FprdoError(f"{self.folder}: holds no results; run fprdo ctc run first, or check the name")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            place = os.open(self.folder, os.O_RDONLY)
            try:
                fcntl.flock(place, fcntl.LOCK_EX)  # of runs that begin at once, one makes the store
                if not stamp.exists():
                    self._fill(stamp)
            finally:
                os.close(place)
        except OSError as error:
            raise FprdoError(f"{self.folder}: cannot be written ({error.strerror}); choose another folder") from None

    def _fill(self, stamp: Path) -> None:
        sweep(self.folder)
        if any(path.is_symlink() or not path.is_dir() for path in self.folder.rglob("*")):
            raise FprdoError(f"{self.folder}: holds something else; name an empty or new folder for the results")
        for name in ("jobs", "failed", "locks", "tmp"):
            (self.folder / name).mkdir(exist_ok=True)
        with replacing(stamp) as temporary:
            temporary.write_text(json.dumps({"fprdo-store": FORMAT}) + "\n", encoding="utf-8")

    # ---- results -----------------------------------------------------------------------------------------------------

    def place(self, key: str) -> Path:
        """Where a job's files are, or would be."""
        return self.folder / "jobs" / key[:2] / key

    def has(self, key: str) -> bool:
        """Whether the job is done."""
        return os.path.exists(self.place(key) / "record.json")

    def record(self, key: str) -> dict[str, Any]:
        """What a finished job left: kind, spec, inputs, result, provenance.

        Raises
        ------
        FprdoError
            It is not done, or its record is damaged.
        """
        path = self.place(key) / "record.json"
        try:
            record: dict[str, Any] = json.loads(path.read_bytes())
            if not all(isinstance(record[name], dict) for name in ("result", "provenance")):
                raise ValueError("no record")
            return record
        except FileNotFoundError:
            raise FprdoError(f"{path}: is missing; run fprdo ctc run again") from None
        except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
            raise FprdoError(f"{path}: is damaged ({error}); remove its folder and run fprdo ctc run again") from None

    def sound(self, key: str) -> bool:
        """Whether the job is done and its record can be read; a damaged job is removed, to be done again."""
        if not self.has(key):
            return False
        try:
            self.record(key)
            return True
        except FprdoError:
            shutil.rmtree(self.place(key), ignore_errors=True)
            return self.has(key)

    def commit(self, key: str, made: Path, record: Mapping[str, object]) -> None:
        """Take a folder of files, inside of `workplace`, as the job's result.

        Raises
        ------
        FprdoError
            The disk is full or the folder cannot be written; then the job is not done.
        """
        place = self.place(key)
        try:
            (made / "record.json").write_text(
                json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
            )
            place.parent.mkdir(exist_ok=True)
            try:
                os.rename(made, place)
            except OSError:
                if not self.has(key):
                    raise
                shutil.rmtree(made, ignore_errors=True)  # another run was faster; equal keys mean equal results
        except OSError as error:
            shutil.rmtree(made, ignore_errors=True)
            raise FprdoError(f"{place}: cannot be written ({error.strerror}); check that the disk has room") from None

    def begin(self, name: str) -> None:
        """Forget the failures of the last run of the conditions `name`, and keep those of this one there."""
        self._failures = self.folder / "failed" / name
        shutil.rmtree(self._failures, ignore_errors=True)

    def fail(self, key: str, title: str, error: str, log: str) -> None:
        """Keep what a job that failed said; nothing is kept before `begin` or where the disk is full."""
        if self._failures is None:
            return
        try:
            with replacing(self._failures / f"{key[:24]}.json") as temporary:
                temporary.write_text(
                    json.dumps({"title": title, "error": error, "log": log}, indent=1) + "\n", encoding="utf-8"
                )
        except FprdoError:
            pass

    # ---- runs --------------------------------------------------------------------------------------------------------

    @property
    def workplace(self) -> Path:
        """A folder of this run for what is not finished, on the store's disk. What dead runs left is removed first."""
        if self._work is None:
            self._sweep()
            lease = self.folder / "tmp" / f"{uuid.uuid4().hex}.lock"
            try:
                self._lease = os.open(lease, os.O_CREAT | os.O_RDWR)
                fcntl.flock(self._lease, fcntl.LOCK_EX)
                self._work = lease.with_suffix("")
                self._work.mkdir()
            except OSError as error:
                raise FprdoError(
                    f"{self.folder}: cannot be written ({error.strerror}); choose another folder"
                ) from None
        return self._work

    def _sweep(self) -> None:
        for lease in (*(self.folder / "tmp").glob("*.lock"), *(self.folder / "locks").glob("*.lock")):
            try:
                handle = os.open(lease, os.O_RDWR)
            except OSError:
                continue
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lease.with_suffix(""), ignore_errors=True)
                lease.unlink(missing_ok=True)
            except OSError:
                pass  # its run is alive
            finally:
                os.close(handle)

    def lock(self, key: str) -> bool:
        """Take a job for this process; False if another one has it."""
        path = self.folder / "locks" / f"{key}.lock"
        try:
            while True:
                handle = os.open(path, os.O_CREAT | os.O_RDWR)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if os.path.samestat(os.fstat(handle), os.stat(path)):
                        self._locks[key] = handle
                        return True
                    os.close(handle)  # its last holder removed the file between our two calls
                except FileNotFoundError:
                    os.close(handle)
        except BlockingIOError:
            os.close(handle)
            return False
        except OSError as error:
            raise FprdoError(f"{path}: cannot be locked ({error.strerror}); check that the disk has room") from None

    def unlock(self, key: str) -> None:
        """Give a job back."""
        handle = self._locks.pop(key, None)
        if handle is not None:
            (self.folder / "locks" / f"{key}.lock").unlink(missing_ok=True)
            os.close(handle)

    def close(self) -> None:
        """Give back all jobs and remove the workplace."""
        for key in list(self._locks):
            self.unlock(key)
        if self._work is not None and self._lease is not None:
            shutil.rmtree(self._work, ignore_errors=True)
            self._work.with_suffix(".lock").unlink(missing_ok=True)
            os.close(self._lease)
            self._work = self._lease = None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
