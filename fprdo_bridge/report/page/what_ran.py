"""What was run: conditions, versions, hashes, machines."""

from __future__ import annotations

from collections import Counter
from typing import Any

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.report.page.answer import encoder_title
from fprdo_bridge.report.page.material import Material, encode_record

_LINES = 200  # of a list


def what_ran(material: Material) -> dict[str, Any]:
    """Names and values for the page's last part."""
    software: Counter[str] = Counter()
    machines: Counter[str] = Counter()
    builds: dict[str, str] = {}
    sources: dict[str, str] = {}
    networks: dict[str, str] = {}
    for (_, item), runs in material.keys.items():
        for (encoder, _), points in runs.items():
            for keys in points[:1]:  # of a run on one item all points have run alike
                record = encode_record(material, keys)
                if record is None:
                    continue
                provenance, spec = record["provenance"], record["spec"]
                software[provenance["software"]] += 1
                versions = ", ".join(f"{name} {value}" for name, value in provenance.get("versions", {}).items())
                machines[f"{provenance.get('cpu')}, {provenance.get('system')}, {versions}"] += 1
                builds[f"{encoder_title(material, encoder)}, {spec['build']}"] = provenance.get("compiler", "unknown")
                sources[item] = spec["source"]["content"]
                _networks(material, keys.scores, keys.map, networks)
    return {
        "software": [*software, *(f"{name}: {value}" for name, value in material.results.software.items())],
        "machines": list(machines),
        "builds": list(builds.items()),
        "sources": list(sources.items())[:_LINES],
        "more_sources": max(0, len(sources) - _LINES),
        "networks": list(networks.items()),
        "conditions": material.results.conditions.source,
    }


def _networks(material: Material, scores: Any, map_key: str | None, found: dict[str, str]) -> None:
    """Names and hashes of what judged and of what made the weights."""
    for title, key in scores.items():
        if title not in found and material.store.has(key):
            try:
                task = material.store.record(key)["spec"]["task"]
            except (FprdoError, LookupError):
                continue
            named = {name: value for name, value in task.items() if name not in ("task", "revision")}
            found[title] = ", ".join(f"{name}: {value}" for name, value in named.items()) or "no network"
    if map_key and "weights" not in found and material.store.has(map_key):
        spec = material.store.record(map_key)["spec"]
        found["weights"] = ", ".join(f"{name}: {value}" for name, value in spec["extractor"].items())
