"""Tasks by name."""

from __future__ import annotations

import importlib

from fprdo_bridge.ctc.conditions import TaskSetting
from fprdo_bridge.ctc.schema import Table
from fprdo_bridge.ctc.tasks.base import Task
from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.device import DEFAULT_DEVICE

# Name in conditions -> module of this package and class.
TASKS = {
    "picture": "picture:PictureQuality",
    "features": "features:Features",
    "classes": "classes:Classes",
    "correspondence": "correspondence:Correspondence",
    "detection": "detection:Detection",
    "segmentation": "detection:Segmentation",
    "text": "text:Text",
    "tracking": "tracking:Tracking",
}


def make(setting: TaskSetting, place: str = "tasks", device: str = DEFAULT_DEVICE) -> Task:
    """The task that conditions ask for; nothing is loaded yet.

    Raises
    ------
    FprdoError
        No such task, or an argument that is missing or wrong.
    """
    spec = setting.task
    if spec in TASKS:
        module, _, name = TASKS[spec].partition(":")
        kind = getattr(importlib.import_module(f"{__package__}.{module}"), name)
    elif ":" in spec:
        module, _, name = spec.partition(":")
        try:
            kind = getattr(importlib.import_module(module), name)
        except (Exception, SystemExit) as error:  # whatever somebody's module raises
            reason = (str(error).splitlines() or ["no message"])[0]
            raise FprdoError(f"{place}: task {spec}: {type(error).__name__}: {reason}; correct {module}") from error
        if not (isinstance(kind, type) and issubclass(kind, Task)):
            raise FprdoError(f"{place}: task {spec}: is no class derived from fprdo_bridge.ctc.tasks.Task")
    else:
        raise FprdoError(f"{place}: task {spec!r}: use one of {', '.join(TASKS)}, or module:class")
    task: Task = kind(Table(setting.arguments, f"{place} {spec}"))
    task.device = device
    return task
