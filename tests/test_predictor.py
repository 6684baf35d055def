"""The predictor: maps of every format, files that are read without running code, and training that goes on."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from limits import file_size_limit

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance import distill as distilling
from fprdo_bridge.importance.distill import distill
from fprdo_bridge.importance.idse_file import IdseFile
from fprdo_bridge.importance.predictor import (
    COMPONENTS,
    PredictorNetwork,
    bases,
    load_predictor,
    save_predictor,
    shapes_of,
)
from fprdo_bridge.importance.training import Example, Training, _blocks, _turned
from fprdo_bridge.importance.weight_map import TRANSFORM_SIZES
from fprdo_bridge.importance.weighting import WeightSettings, write_weights
from fprdo_bridge.importance.weights import block_dct
from fprdo_bridge.video.formats import VideoFormat
from fprdo_bridge.video.raw import write_yuv
from fprdo_bridge.video.source import open_source

PLUG_IN = """
from torch import nn
import torch
def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 4, 5, stride=2, padding=2), nn.ReLU())
"""


def frame(fmt: VideoFormat, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(16, 235, shape).astype(fmt.dtype) for shape in fmt.plane_shapes)


@pytest.fixture
def predictor(tmp_path: Path) -> Path:
    torch.manual_seed(5)
    means = {n: torch.randn(COMPONENTS, n, n) / 4 for n in TRANSFORM_SIZES}
    save_predictor(tmp_path / "p.pt", PredictorNetwork(), means, (1.0, 2.0, 3.0), {"extractor": {"name": "x"}})
    return tmp_path / "p.pt"


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "distilled_plug_in.py").write_text(PLUG_IN)
    for index, fmt in enumerate((VideoFormat(96, 64), VideoFormat(97, 75))):
        write_yuv(tmp_path / f"{index}_{fmt.width}x{fmt.height}.yuv", [frame(fmt, index)], fmt)
    return ["0_96x64.yuv", "1_97x75.yuv"]


SETTINGS = WeightSettings("distilled_plug_in:network:1", probes=2, device="cpu")


def test_the_network_is_small():
    assert 30_000 < sum(parameter.numel() for parameter in PredictorNetwork().parameters()) < 70_000


@pytest.mark.parametrize(
    "fmt",
    [
        VideoFormat(96, 64),
        VideoFormat(50, 38),
        VideoFormat(16, 16),
        VideoFormat(70, 33, "444", 10),
        VideoFormat(66, 35, "422"),
        VideoFormat(33, 17, "400"),
    ],
    ids=str,
)
def test_maps_of_every_format(predictor, fmt):
    found = load_predictor(str(predictor), "cpu").map(frame(fmt), fmt)
    assert [plane.shape for plane in found.planes] == list(fmt.plane_shapes)
    for plane in found.planes:
        assert np.isfinite(plane).all() and (plane > 0).all() and abs(plane.mean(dtype=np.float64) - 1) < 1e-4
        assert plane.std() > 0
    for n in TRANSFORM_SIZES:
        for plane, (rows, columns) in zip(found.shapes[n], fmt.plane_shapes, strict=True):
            assert plane.shape == (-(-rows // n) * n, -(-columns // n) * n)
            blocks = plane.reshape(plane.shape[0] // n, n, -1, n).mean((1, 3))
            assert (plane >= 0).all() and np.allclose(blocks, 1, atol=1e-4)
    assert found.plane_gain == (1.0, 2.0, 3.0)[: len(found.planes)]


def test_a_shape_is_the_mean_shape_where_there_are_no_coefficients():
    mean = torch.randn(8, 8)
    expected = mean.exp() / mean.exp().mean()
    assert torch.allclose(shapes_of(mean, torch.zeros(2, 3, 4), 8), expected.expand(2, 3, 8, 8), atol=1e-6)
    tilted = shapes_of(torch.zeros(8, 8), torch.tensor([1.0, 0, 0, 0]), 8)
    assert (tilted.diff(dim=1) > 0).all() and torch.allclose(tilted.diff(dim=0), torch.zeros(7, 8), atol=1e-6)
    assert bases(8).shape == (4, 8, 8)


def test_a_file_gives_the_same_map_again_and_is_named(predictor, tmp_path, pictures):
    one, other = (load_predictor(str(predictor), "cpu") for _ in range(2))
    fmt = VideoFormat(96, 64)
    assert np.array_equal(one.map(frame(fmt), fmt).planes[0], other.map(frame(fmt), fmt).planes[0])
    source = open_source(pictures[0])
    write_weights(source, WeightSettings(predictor=str(predictor), device="cpu"), tmp_path / "w.idse")
    with IdseFile(tmp_path / "w.idse") as file:
        said = file.metadata
        assert said["extractor"] == one.description() and said["device"] == "cpu" and "probes" not in said
        assert said["extractor"]["fingerprint"].startswith("sha256:")
        assert file.layout.transform_sizes == TRANSFORM_SIZES


class Evil:
    def __reduce__(self):
        return Path.touch, (Path("touched"),)


def test_files_that_are_refused(predictor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = torch.load(predictor, weights_only=True)
    torch.save({**whole, "version": 99}, "later.pt")
    torch.save({**whole, "kind": "other"}, "other.pt")
    torch.save({**whole, "state": {}}, "empty.pt")
    torch.save({**whole, "made_from": Evil()}, "evil.pt")
    Path("plain.pt").write_bytes(pickle.dumps(Evil()))
    Path("text.pt").write_text("no predictor")
    Path("cut.pt").write_bytes(predictor.read_bytes()[:5000])
    refused = {"later": "is a predictor of version 99, this fprdo reads 1; make it anew", "empty": "it is damaged"}
    refused |= dict.fromkeys(("other", "evil", "plain", "text", "cut"), "is no predictor")
    for name, message in {**refused, "gone": "cannot be read"}.items():
        with pytest.raises(FprdoError, match=f"^{name}.pt: .*{message}") as caught:
            load_predictor(f"{name}.pt")
        assert "\n" not in str(caught.value)
    assert not Path("touched").exists()


def test_the_map_of_a_mirrored_picture_is_mirrored():
    """What training takes for granted: blocks change places, and their squared coefficients stay."""
    plane = torch.randn(16, 32, generator=torch.Generator().manual_seed(3))
    found, mirrored = (_blocks(block_dct(one, 8).square(), 8) for one in (plane, plane.flip(-1)))
    assert torch.allclose(_turned(found, True, 1), mirrored, atol=1e-5)
    assert not torch.allclose(found, mirrored, atol=1e-1) and torch.equal(_turned(found, False, 1), found)


def test_training_learns_where_weights_are():
    """Weights are high where a picture is bright: after some steps the loss is well below that at the beginning."""
    generator = torch.Generator().manual_seed(2)
    examples = []
    for _ in range(2):
        bright = (torch.rand(1, 1, 4, 4, generator=generator) > 0.5).float()
        bright = torch.nn.functional.interpolate(bright, scale_factor=32)[0, 0]
        planes = [0.2 + bright, 0.2 + bright[::2, ::2], 0.2 + bright[::2, ::2]]
        shapes = {n: [torch.ones(128, 128), torch.ones(64, 64), torch.ones(64, 64)] for n in TRANSFORM_SIZES}
        examples.append(Example(bright.expand(1, 3, -1, -1), planes, shapes))
    training = Training(PredictorNetwork, examples, 40, 0)
    losses = [training.advance() for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_the_bytes_do_not_depend_on_the_name(tmp_path):
    network, means = PredictorNetwork(), {n: torch.zeros(COMPONENTS, n, n) for n in TRANSFORM_SIZES}
    for name in ("a.pt", "another.pt"):
        save_predictor(tmp_path / name, network, means, [1, 1, 1], {})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another.pt").read_bytes()


def test_a_full_disk_is_one_line(tmp_path):
    network, means = PredictorNetwork(), {n: torch.zeros(COMPONENTS, n, n) for n in TRANSFORM_SIZES}
    with file_size_limit(100_000), pytest.raises(FprdoError, match="a.pt: cannot be written"):
        save_predictor(tmp_path / "a.pt", network, means, [1, 1, 1], {})
    assert not list(tmp_path.iterdir())


def test_a_stopped_run_goes_on_and_leaves_nothing(tmp_path, pictures, monkeypatch):
    sources = [open_source(name) for name in pictures]
    monkeypatch.setattr(distilling, "_SAVED_EVERY", 1)
    whole = tmp_path / "whole.pt"
    assert distill(sources, SETTINGS, whole, steps=4) > 30_000

    class Stop(Exception):
        pass

    def stop(what: str, share: float) -> None:
        if what == "training" and share == 0.75:
            raise Stop

    seen: list[tuple[str, float]] = []
    with pytest.raises(Stop):
        distill(sources, SETTINGS, tmp_path / "parts.pt", steps=4, progress=stop)
    assert not (tmp_path / "parts.pt").exists() and (tmp_path / ".parts.pt.distill").is_dir()
    distill(sources, SETTINGS, tmp_path / "parts.pt", steps=4, progress=lambda *done: seen.append(done))
    assert [share for what, share in seen if what == "training"] == [0.75, 1.0]  # two steps were kept
    assert not (tmp_path / ".parts.pt.distill").exists() and not (tmp_path / ".whole.pt.distill").exists()
    a, b = (torch.load(path, weights_only=True)["state"] for path in (whole, tmp_path / "parts.pt"))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert load_predictor(str(whole)).description()["of"]["pictures"] == 2


def test_what_cannot_be_distilled(tmp_path, pictures):
    sources = [open_source(name) for name in pictures]
    grey = VideoFormat(64, 64, "400")
    write_yuv(tmp_path / "g_64x64_400.yuv", [frame(grey)], grey)
    for given, settings, steps, message in (
        (sources, SETTINGS, 0, "0 steps: use 1"),
        (sources, WeightSettings("variance"), 1, "extractor variance: is no network"),
        (sources, WeightSettings(predictor="x.pt"), 1, "learns an extractor's maps alone"),
        ([open_source("g_64x64_400.yuv")], SETTINGS, 1, "give pictures of 4:2:0"),
    ):
        with pytest.raises(FprdoError, match=message):
            distill(given, settings, tmp_path / "o.pt", steps=steps)
    assert not (tmp_path / "o.pt").exists()
