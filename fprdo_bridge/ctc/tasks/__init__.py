"""Judges of decoded pictures. A task is a class with the interface of `Task`; docs/tasks.md shows how to write one."""

from fprdo_bridge.ctc.tasks.base import Frames, Measure, Task
from fprdo_bridge.ctc.tasks.registry import TASKS, make

__all__ = ["TASKS", "Frames", "Measure", "Task", "make"]
