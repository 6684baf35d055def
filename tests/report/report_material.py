"""A small store with results that are known: no encoder of the project, no network, no clock."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import av
import numpy as np

from fprdo_bridge.ctc.store import Store
from fprdo_bridge.importance.idse_file import WeightMap, write_idse
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.pictures import frame_to_picture, load_picture, picture_to_frame, save_picture

CONDITIONS = """
title = "{title}"
anchors = ["stock"]

[[sets]]
name = "small"
folder = "small"

[[encoders]]
encoder = "x264"
crf = [22, 27, 32, 37]

[[encoders]]
name = "second <b>x264</b>"
encoder = "x264"
crf = [22, 27, 32, 37]

[[variants]]
kind = "stock"

[[variants]]
kind = "idse"
tau = [0.15, 1, 3]
qp-map = true

[[tasks]]
task = "features"
extractor = "lite0"

[statistics]
resamples = 50
"""
VALUES = (22, 27, 32, 37)
# Of each variant: its bits over stock's at equal quality of features, and at equal PSNR. The first saves half the bits.
FACTORS = {"stock": (1.0, 1.0), "idse tau=0.15": (0.5, 1.2), "idse tau=1": (0.7, 1.1), "idse tau=3": (0.9, 0.98)}
SIDE = (96, 64)


def key_of(*words: object) -> str:
    """A job's key."""
    return hashlib.sha256(repr(words).encode()).hexdigest()


def make_store(
    folder: Path,
    items: tuple[str, ...] = ("p0", "p1", "p2"),
    *,
    title: str = "a small run",
    done: float = 1.0,
    failed: bool = False,
) -> Path:
    """A store in `folder`/store, its pictures in `folder`/small.

    Parameters
    ----------
    done : share of the points that are there
    """
    fmt = VideoFormat(*SIDE)
    store = Store(folder / "store")
    lines, hashes = [], {}
    conditions = CONDITIONS.replace("{title}", title)
    (folder / "small").mkdir(parents=True, exist_ok=True)
    photograph = load_picture("skimage:astronaut")
    encoders = ("x264 intra", "second <b>x264</b>")
    for number, item in enumerate(items):
        path = folder / "small" / f"{item.replace('/', '_')}.png"
        save_picture(path, photograph[20 + 50 * number : 84 + 50 * number, 150:246])
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        hashes[json.dumps([str(path), 0, 0, "sha256", 0, None])] = content
        frame = picture_to_frame(load_picture(path), fmt)
        points = []
        map_key = key_of("map", item)
        _map(store, map_key, fmt, number)
        for encoder in encoders:
            for variant, (features, psnr) in FACTORS.items():
                for value in VALUES:
                    name = (item, encoder, variant, value)
                    keys = {kind: key_of(kind, *name) for kind in ("encode", "decode", "features lite0", "picture")}
                    points.append(
                        {
                            "encoder": encoder,
                            "variant": variant,
                            "value": value,
                            "encode": keys["encode"],
                            "decode": keys["decode"],
                            "scores": {one: keys[one] for one in ("picture", "features lite0")},
                            "map": None if variant == "stock" else map_key,
                        }
                    )
                    if len(points) > done * 32:
                        continue
                    _point(store, keys, name, frame, fmt, content, features, psnr)
        lines.append(
            {
                "item": item,
                "set": "small",
                "frames": 1,
                "fps": "30",
                "width": fmt.width,
                "height": fmt.height,
                "originals": {},
                "points": points,
            }
        )
    header = {
        "conditions": conditions,
        "problems": ["set small: <script>alert(1)</script>.png: is missing"],
        "software": {"fprdo": "1.2.3", "x264 intra": "x264 0.164"},
        "tasks": {
            "picture": {"task": "picture", "arguments": {}, "pool": None},
            "features lite0": {"task": "features", "arguments": {"extractor": "lite0"}, "pool": None},
        },
    }
    run = folder / "store" / "runs" / "two"
    run.mkdir(parents=True)
    (run / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (header, *lines)))
    (folder / "store" / "hashes.json").write_text(json.dumps(hashes))
    if failed:
        store.begin("two")
        store.fail(key_of("x"), "encode <i>p0</i>", "the disk is full", "")
    store.close()
    return folder / "store"


def _commit(store: Store, key: str, kind: str, spec: object, result: object, provenance: object, files=()) -> None:
    made = store.workplace / key[:12]
    made.mkdir()
    for name, data in files:
        (made / name).write_bytes(data)
    record = {"kind": kind, "key": key, "spec": spec, "inputs": {}, "result": result, "provenance": provenance}
    store.commit(key, made, record)


def _map(store: Store, key: str, fmt: VideoFormat, seed: int) -> None:
    generator = np.random.default_rng(seed)
    path = store.workplace / "weights.idse"
    planes = tuple(generator.uniform(0.2, 1.8, shape) for shape in fmt.plane_shapes)
    planes = tuple(plane / plane.mean() for plane in planes)
    write_idse(path, [WeightMap(planes, {}, (1.0, 1.0, 1.0))], fmt, frame_count=1, transform_sizes=())
    data = path.read_bytes()
    path.unlink()
    spec = {"extractor": {"name": "efficientnet_lite0", "fingerprint": "sha256:0"}}
    _commit(store, key, "map", spec, {}, {"seconds": 2.0, "memory": 1 << 20}, [("weights.idse", data)])


def _point(store: Store, keys, name, frame, fmt: VideoFormat, content: str, features: float, psnr: float) -> None:
    item, encoder, variant, value = name
    bits = 100_000 * 2 ** ((22 - value) / 5) * features
    quality = 40 - 6 * (value - 22) / 5
    # features stand at equal value where the bits are FACTORS' times stock's; PSNR is moved along its own line
    loss = 6 * np.log2(psnr / features)
    source = {
        "content": content,
        "kind": "picture",
        "format": {"width": fmt.width, "height": fmt.height, "chroma": "420", "bit_depth": 8, "matrix": "bt709",
                   "full_range": False, "siting": "left", "aspect": None},
        "frames": 1,
        "skip": 0,
        "every": 1,
        "fps": "30",
    }  # fmt: skip
    provenance = {"software": "fprdo 1.2.3", "cpu": "a CPU", "system": "Linux", "versions": {"av": "1"}, "memory": 5e6}
    temporary = f"{store.folder}/tmp/{'a' * 32}"
    command = (
        f"/home/somebody/bin/x264 --crf {value} -o {temporary}/abc-1/bitstream.bin {temporary}/worker-1/{'b' * 64}.yuv"
    )
    result = {
        "bits": int(bits),
        "bitstream_bits": int(bits) + 100,
        "format": source["format"],
        "notes": [],
        "qp_offset_mean": 0.0,
        "recon": "0",
        "seconds": 1.0 if variant == "stock" else 1.5,
    }
    spec = {"source": source, "encoder": "x264", "build": "x264-build", "command": []}
    stream = bitstream(frame, fmt, value)
    provenance_of_encode = {**provenance, "command": command, "compiler": "GCC"}
    _commit(store, keys["encode"], "encode", spec, result, provenance_of_encode, [("bitstream.bin", stream)])
    _commit(store, keys["decode"], "decode", {}, {"decoders": ["a"], "recon": "0", "seconds": {"a": 0.5}}, provenance)
    picture = dict.fromkeys(("psnr_y", "psnr_cb", "psnr_cr", "psnr_yuv", "ssim", "ms_ssim"), quality - loss)
    _commit(store, keys["picture"], "score", {"task": {"task": "picture"}}, picture, provenance)
    task = {"task": "features", "revision": 1, "weights": "sha256:1"}
    distance = 10 ** (-quality / 10)
    boxes = {"boxes": [[10.0, 8.0, 30.0, 20.0], [0, 0, 5, 5]], "labels": [3, 1], "scores": [0.9, 0.1]}
    found = {"distance": distance, "frames": [boxes]}  # as a detector's record has them
    _commit(store, keys["features lite0"], "score", {"task": task}, found, provenance)


_STREAMS: dict[tuple[bytes, int], bytes] = {}


def bitstream(frame, fmt: VideoFormat, value: int) -> bytes:
    """AVC of one frame by the x264 that comes with PyAV, else by whatever AVC encoder that has."""
    name = (frame[0].tobytes(), value)
    if name not in _STREAMS:
        file = io.BytesIO()
        with av.open(file, "w", format="h264") as container:
            stream = container.add_stream("libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = fmt.width, fmt.height, "yuv420p"
            stream.options = {"crf": str(value)}
            rgb = frame_to_picture(frame, fmt)
            for packet in (*stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")), *stream.encode(None)):
                container.mux(packet)
        _STREAMS[name] = file.getvalue()
    return _STREAMS[name]
