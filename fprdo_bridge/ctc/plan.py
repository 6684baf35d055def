"""From conditions to jobs, one picture or clip at a time, so that a plan of any length fits into the memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from fprdo_bridge.ctc import coding, material
from fprdo_bridge.ctc.conditions import Conditions, EncoderSetting, TaskSetting, Variant
from fprdo_bridge.ctc.jobs import Job
from fprdo_bridge.ctc.material import Hashes, Item
from fprdo_bridge.ctc.tasks import Frames, Task, make
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.device import find_device

Json = dict[str, Any]
_KEPT = 4096  # command lines; pictures of one size share them
_Judge = tuple[Task, TaskSetting, Json, object]  # with its identity, and the truth that it has of an item


@dataclass(frozen=True)
class Point:
    """One encode and what judges it: keys of jobs."""

    encoder: str
    variant: str
    value: float
    encode: str
    decode: str
    scores: Mapping[str, str]
    map: str | None


@dataclass(frozen=True)
class Unit:
    """Jobs that one worker does one after another: a map, an encode, or a decode with the scores that follow it."""

    jobs: tuple[Job, ...]

    @property
    def memory(self) -> int:
        """Bytes that the largest of the jobs needs."""
        return max(job.memory for job in self.jobs)


@dataclass(frozen=True)
class Group:
    """All jobs of one item; each unit comes after those that it needs."""

    item: Item
    units: tuple[Unit, ...]
    points: tuple[Point, ...]
    originals: Mapping[str, str]

    def line(self) -> dict[str, object]:
        """What the tables need of it, as JSON."""
        item = self.item
        return {
            "item": item.name,
            "set": item.group,
            "frames": item.frames,
            "fps": str(item.fps),
            "width": item.fmt.width,
            "height": item.fmt.height,
            "originals": dict(self.originals),
            "points": [asdict(point) for point in self.points],
        }


@dataclass
class Plan:
    """Conditions with everything that they name found.

    Attributes
    ----------
    problems : one line each for what is left out, and why
    remarks : what is added to encodes, for the user to know
    """

    conditions: Conditions
    data: Path
    items: list[Item]
    tasks: dict[str, tuple[Task, TaskSetting, Json]]
    maps: dict[str, Json]
    problems: list[str] = field(default_factory=list)
    remarks: dict[str, None] = field(default_factory=dict)
    _setups: dict[tuple[object, ...], coding.Setup | None] = field(default_factory=dict)
    _specs: dict[tuple[object, ...], Json | None] = field(default_factory=dict)

    def groups(self) -> Iterator[Group]:
        """The jobs, item by item. What is left out is added to `problems` once."""
        for item in self.items:
            yield self._group(item)

    def _problem(self, line: str) -> None:
        if line not in self.problems:
            self.problems.append(line)

    def _group(self, item: Item) -> Group:
        units: dict[str, Unit] = {}
        points: list[Point] = []
        originals: dict[str, str] = {}
        tasks = self._tasks_of(item)
        for title, judge in tasks.items():
            if judge[0].needs_original:
                job = self._score(item, 1, title, judge, {}, {})
                units[job.key], originals[title] = Unit((job,)), job.key
        group = next(one for one in self.conditions.sets if one.name == item.group)
        for encoder in self.conditions.encoders:
            if group.structures and encoder.structure not in group.structures:
                continue
            for variant in self.conditions.variants:
                if variant.fits(encoder):
                    points += self._points(item, encoder, variant, tasks, units)
        return Group(item, tuple(units.values()), tuple(points), originals)

    def _tasks_of(self, item: Item) -> dict[str, _Judge]:
        """The tasks that can judge an item."""
        found: dict[str, _Judge] = {}
        original = Frames(item.fmt, lambda: iter(()), item.image_id, item.annotations)
        for title, (task, setting, identity) in self.tasks.items():
            try:
                task.check(original)
                found[title] = task, setting, identity, task.truth(original)
            except FprdoError as error:
                self._problem(f"task {title}: {item.group}/{item.name}: {error}")
        return found

    def _points(
        self,
        item: Item,
        encoder: EncoderSetting,
        variant: Variant,
        tasks: Mapping[str, _Judge],
        units: dict[str, Unit],
    ) -> list[Point]:
        rates = variant.rates or item.clip.rates.get(encoder.structure) or item.clip.rates.get("") or encoder.rates
        setup = self._setup(item, encoder, variant)
        if setup is None or variant.map is not None and variant.map not in self.maps:
            return []
        source, frames = item.spec(encoder.subsample), item.coded(encoder.subsample)
        how = {**item.how(), "image_id": item.image_id, "annotations": item.annotations}
        needs = self._map(item, source, how, variant.map, frames) if variant.map is not None else None
        points = []
        for value in rates.points:
            spec = self._spec(item, encoder, variant, setup, rates.control, value)
            if spec is None:
                continue
            name = f"{item.name} {encoder.name} {variant.name} {rates.control} {value:g}"
            seconds, memory = coding.cost(encoder.encoder, item.fmt, frames)
            encode = Job(
                "encode",
                {"source": source, **spec},
                {"map": needs.key} if needs else {},
                {**how, "setup": setup.how(), "control": rates.control, "value": value, "title": name},
                f"encode {name}",
                seconds,
                memory,
                (8 << 10) + item.fmt.width * item.fmt.height * frames // 12,
            )
            if needs:
                units.setdefault(needs.key, Unit((needs,)))
            units.setdefault(encode.key, Unit((encode,)))
            below = {"encode": encode.key}
            decode = Job(
                "decode",
                {"source": source, "encoder": encoder.encoder, "decoders": coding.decoders(encoder.encoder)},
                below,
                {**how, "title": name},
                f"decode {name}",
                0.05 + seconds / 20,
                memory,
                4 << 10,
            )
            more = {"encoder": encoder.encoder, "title": name}
            scores = {
                title: self._score(item, encoder.subsample, title, judge, below, more) for title, judge in tasks.items()
            }
            units.setdefault(decode.key, Unit((decode, *scores.values())))
            points.append(
                Point(
                    encoder.name,
                    variant.name,
                    value,
                    encode.key,
                    decode.key,
                    {title: job.key for title, job in scores.items()},
                    needs.key if needs else None,
                )
            )
        return points

    def _setup(self, item: Item, encoder: EncoderSetting, variant: Variant) -> coding.Setup | None:
        """How the encoder is run; None if it cannot be."""
        clip = item.clip
        name = (encoder.name, variant.name, clip.config, clip.intra_period, item.fmt.chroma, item.fmt.bit_depth)
        if name not in self._setups:
            self._setups[name] = None
            try:
                self._setups[name] = coding.setup(encoder, variant, clip, item.fmt, self.data)
            except FprdoError as error:
                self._problem(f"encoder {encoder.name}: {error}")
        return self._setups[name]

    def _spec(
        self,
        item: Item,
        encoder: EncoderSetting,
        variant: Variant,
        setup: coding.Setup,
        control: str,
        value: float,
    ) -> Json | None:
        """What determines the bitstream of a rate point besides source and weights; None if the encoder refuses it."""
        fmt, frames, rate = item.fmt, item.coded(encoder.subsample), item.fps / encoder.subsample
        name: tuple[object, ...] = (
            encoder.name,
            variant.name,
            item.clip.config,
            item.clip.intra_period,
            fmt,
            fmt.aspect,
        )
        name += (frames, rate, control, value)
        if name not in self._specs:
            while len(self._specs) > _KEPT:
                self._specs.pop(next(iter(self._specs)))
            title = f"variant {variant.name}{f', {item.name}' if item.clip.rates else ''}"
            try:
                self._specs[name], remarks = coding.point(setup, fmt, frames, rate, control, value, title)
                self.remarks |= dict.fromkeys(remarks)
            except FprdoError as error:
                self._specs[name] = None
                self._problem(f"encoder {encoder.name}: {error}")
        return self._specs[name]

    def _map(self, item: Item, source: Json, how: Json, name: str, frames: int) -> Job:
        settings = self.conditions.maps[name]
        seconds, memory, disk = coding.map_cost(settings, item.fmt, frames)
        spec = self.maps[name]
        if frames == 1:  # how maps follow one another determines nothing
            values = {key: value for key, value in spec["settings"].items() if key != "cuts"}
            spec = {**spec, "settings": {**values, "frames_per_map": 1}}
        return Job(
            "map",
            {"source": source, **spec},
            {},
            {**how, **coding.map_how(settings, self.conditions.device), "title": f"weights of {item.name}"},
            f"weights of {item.name} ({name})",
            seconds,
            memory,
            disk,
        )

    def _score(
        self, item: Item, subsample: int, title: str, judge: _Judge, inputs: Mapping[str, str], more: Mapping[str, str]
    ) -> Job:
        task, setting, identity, truth = judge
        samples = item.fmt.width * item.fmt.height * item.coded(subsample)
        spec = {"source": item.spec(subsample), "task": identity, "truth": truth, "encoder": more.get("encoder")}
        how: Json = {
            **item.how(),
            "image_id": item.image_id,
            "annotations": item.annotations,
            "task": setting.task,
            "arguments": dict(setting.arguments),
            "title": f"{title} of {more.get('title', item.name)}",
            "device": self.conditions.device,
        }
        return Job("score", spec, inputs, how, how["title"], 0.02 + task.seconds * samples / 1e6, task.memory, 4 << 10)


def make_plan(
    conditions: Conditions, data: Path, hashes: Hashes, progress: Callable[[int], None] = lambda count: None
) -> Plan:
    """Find what conditions name: sources, encoders, networks.

    Raises
    ------
    FprdoError
        A task does not exist or its arguments are wrong, or there is nothing that could be run.
    """
    planned = plan_of(conditions, [], data)
    found = material.find(conditions, data, hashes, progress)
    hashes.save()
    planned.items += found.items
    planned.problems[:0] = found.problems
    return planned


def plan_of(conditions: Conditions, items: list[Item], data: Path) -> Plan:
    """The plan for items that have been found; raises as `make_plan`."""
    if conditions.device not in ("auto", "cpu"):
        find_device(conditions.device)  # one line for all networks
    tasks: dict[str, tuple[Task, TaskSetting, Json]] = {}
    problems: list[str] = []
    settings = (TaskSetting("picture"), *(one for one in conditions.tasks if one.task != "picture"))
    made = [
        make(setting, f"{conditions.name}: tasks[{index - 1}]", conditions.device)
        for index, setting in enumerate(settings)
    ]
    for task, setting in zip(made, settings):
        if task.title in tasks:
            raise FprdoError(f"{conditions.name}: tasks: {task.title} stands twice; leave one out")
        try:
            identity = {"task": setting.task, "revision": task.revision, **task.identity()}
            json.dumps(identity, allow_nan=False)
            tasks[task.title] = task, setting, identity
        except FprdoError as error:
            problems.append(f"task {task.title}: {error}")
        except (TypeError, ValueError) as error:
            raise FprdoError(f"task {task.title}: its identity is no JSON ({error}); correct the task") from None
    maps = {}
    for name in dict.fromkeys(variant.map for variant in conditions.variants if variant.map):
        try:
            maps[name] = coding.map_spec(replace(conditions.maps[name], device=conditions.device))
        except FprdoError as error:
            problems.append(f"maps.{name}: {error}")
    for encoder in conditions.encoders:
        try:
            coding.title(encoder.encoder)
        except FprdoError as error:
            problems.append(f"encoder {encoder.name}: {error}")
    return Plan(conditions, data, items, tasks, maps, problems)
