"""What a run consists of: jobs that are named by the hash of everything that determines their result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

# Raised by one when a kind of job comes to give another result for the same inputs.
REVISIONS = {"map": 1, "encode": 1, "decode": 1, "score": 1}


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes
    ----------
    kind : of REVISIONS
    spec : all that determines the result, as JSON: content hashes instead of paths
    inputs : keys of the jobs whose results are read, by the name under which this job knows them
    how : what a worker has to know besides, as JSON: paths, names under which networks are loaded. Not hashed.
    title : for people
    seconds, memory, disk : estimates, in seconds of one core and bytes
    """

    kind: str
    spec: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    how: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    seconds: float = 0.1
    memory: int = 0
    disk: int = 0

    @cached_property
    def key(self) -> str:
        """64 hexadecimal digits."""
        return digest([self.kind, REVISIONS[self.kind], self.spec, dict(self.inputs)])

    def message(self, output: str) -> dict[str, Any]:
        """The job as a worker gets it, with the folder for its files."""
        return {
            "kind": self.kind,
            "key": self.key,
            "spec": self.spec,
            "inputs": dict(self.inputs),
            "how": self.how,
            "output": output,
        }


def digest(value: object) -> str:
    """SHA-256 over a value's JSON with sorted keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
