"""How extractors are named: NAME[@SCALES][:LAYERS]."""

import pytest

from fprdo_bridge.errors import FprdoError
from fprdo_bridge.importance.specification import FULL, Specification, scale_names

LITE0 = "efficientnet_lite0"


@pytest.mark.parametrize(
    "text, name, layers, scales",
    [
        (LITE0, LITE0, None, FULL),
        ("lite0", LITE0, None, FULL),
        ("lite1", "efficientnet_lite1", None, FULL),
        ("lite2@224", "efficientnet_lite2", None, (224,)),
        ("efficientnet_lite0@224", LITE0, None, (224,)),
        ("lite0@224,352,full", LITE0, None, (224, 352, None)),
        ("lite0@full", LITE0, None, (None,)),
        ("lite0:_blocks.4,_blocks.10", LITE0, ("_blocks.4", "_blocks.10"), FULL),
        ("lite0@16,4096:_fc", LITE0, ("_fc",), (16, 4096)),
        ("my_task:detector", "my_task:detector", None, FULL),
        ("my_task:detector:neck", "my_task:detector", ("neck",), FULL),
        ("a.b:c@100,full:d.e,f", "a.b:c", ("d.e", "f"), (100, None)),
        ("my:net@0224", "my:net", None, (224,)),
        ("my:net:a:b", "my:net", ("a:b",), FULL),
        ("lite0x:f", "lite0x:f", None, FULL),
        ("my:net:a@b", "my:net", ("a@b",), FULL),
        (":f", ":f", None, FULL),
    ],
)
def test_what_a_text_means(text, name, layers, scales):
    found = Specification.parse(text)
    assert (found.name, found.layers, found.scales) == (name, layers, scales)
    assert found.is_plug_in == (name not in (LITE0, "efficientnet_lite1", "efficientnet_lite2"))


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "resnet50",
            r"unknown extractor 'resnet50': use efficientnet_lite0, .*\(short: lite0, .*\) or a plug-in module:call",
        ),
        ("", "unknown extractor ''"),
        ("lite3@224", "unknown extractor 'lite3@224'"),
        ("lite0 ", "unknown extractor 'lite0 '"),
        (None, "unknown extractor None"),
        (3, "unknown extractor 3"),
        ("lite0@", "extractor lite0@: scale ''; use the samples of the"),
        ("lite0@15", "scale '15'; use .* 16 to 4096, or full"),
        ("lite0@4097", "scale '4097'"),
        ("lite0@-224", "scale '-224'"),
        ("lite0@224px", "scale '224px'"),
        ("lite0@224,", "scale ''"),
        ("lite0@224,,full", "scale ''"),
        ("lite0@Full", "scale 'Full'"),
        ("lite0@２２４", "scale '２２４'"),
        ("lite0@" + "9" * 5000, "scale '9999"),
        ("lite0@224,224", "scale 224 stands twice"),
        ("lite0@full,full", "scale full stands twice"),
        ("lite0:", "a layer without a name"),
        ("my:net:a,,b", "a layer without a name"),
        ("my:net@224@352", "scale '224@352'"),
        ("lite0:a\nb,", "a layer without a name"),
    ],
)
def test_what_is_no_specification(text, message):
    with pytest.raises(FprdoError, match=message):
        Specification.parse(text)


def test_names_of_scales():
    assert scale_names((224, None)) == [224, "full"]
