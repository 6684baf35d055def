"""Where the originals of a run lie: the store knows their content, not always their place."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fprdo_bridge.ctc.material import Hashes, find, read_frames
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.report.page.material import Material, Place
from fprdo_bridge.video.formats import Frame, VideoFormat


class Originals:
    """Finds originals by their content.

    Parameters
    ----------
    data : folder to which the conditions' names are relative; None for where the files were when they were coded
    """

    def __init__(self, material: Material, data: Path | None):
        self._material, self._data = material, data
        self._found: dict[str, dict[str, tuple[str, int, str]]] = {}

    def frames(self, place: Place, spec: Mapping[str, Any]) -> Iterator[Frame]:
        """The frames that were coded.

        Parameters
        ----------
        spec : "source" of an encode's spec

        Raises
        ------
        FprdoError
            The file is not where it was, or holds something else now.
        """
        origin, skip = self._origin(place, spec)
        return read_frames(spec, {"origin": origin, "skip": skip})

    def _origin(self, place: Place, spec: Mapping[str, Any]) -> tuple[str, int]:
        group, item = place
        found = self._in_data(group) if self._data is not None else {}
        if item not in found:
            found |= self._of_package(group)
        if item in found:
            origin, skip, content = found[item]
            if content != spec["content"]:
                raise FprdoError(f"{origin}: holds something else than what was coded; say with --data where that lies")
            return origin, skip
        for path, start in self._hashed.get(spec["content"], []):
            if Path(path).is_file() and Hashes().of(Path(path), "sha256", *start) == spec["content"]:
                return path, start[0] // self._frame_bytes(spec) if spec["kind"] == "raw" else spec["skip"]
        raise FprdoError(f"the original of {item} is not where it was coded from; say with --data where it lies")

    def _frame_bytes(self, spec: Mapping[str, Any]) -> int:
        from fprdo_bridge.ctc.material import format_from

        fmt: VideoFormat = format_from(spec["format"])
        return fmt.frame_bytes

    def _of_package(self, group: str) -> dict[str, tuple[str, int, str]]:
        """Pictures of scikit-image, which need no folder."""
        sets = [one for one in self._material.results.conditions.sets if one.name == group]
        files = tuple(file for one in sets for file in one.files if file.startswith("skimage:"))
        return self._look(f"{group}/skimage", [replace(one, files=files, count=None) for one in sets if files], Path())

    def _in_data(self, group: str) -> dict[str, tuple[str, int, str]]:
        sets = [one for one in self._material.results.conditions.sets if one.name == group]
        return dict(self._look(group, sets, self._data or Path()))

    def _look(self, name: str, sets: list[Any], data: Path) -> dict[str, tuple[str, int, str]]:
        if name not in self._found:
            conditions = replace(self._material.results.conditions, sets=tuple(sets))
            items = find(conditions, data, Hashes()).items if sets else []
            self._found[name] = {one.name: (one.origin, one.skip, one.content) for one in items}
        return self._found[name]

    @cached_property
    def _hashed(self) -> dict[str, list[tuple[str, tuple[int, int | None]]]]:
        """Content -> files that had it, with the part of the file."""
        found: dict[str, list[tuple[str, tuple[int, int | None]]]] = {}
        try:
            entries = json.loads((self._material.store.folder / "hashes.json").read_bytes())
            for key, value in entries.items():
                path, _, _, what, *part = json.loads(key)
                if what == "sha256":
                    found.setdefault(value, []).append((path, (part[0], part[1])))
        except (OSError, ValueError, TypeError, AttributeError, LookupError):
            pass  # a store that was copied without it
        return found
