"""What only JM can be asked: that our own configurations have the structures that they are named after."""

import pytest
from clips import make_job
from oracles import run

from fprdo_bridge.encoders.jm import JM
from fprdo_bridge.encoders.structures import KINDS
from fprdo_bridge.video.formats import VideoFormat


@pytest.mark.parametrize("kind", KINDS)
def test_our_configurations_have_their_structures(tmp_path, jm_tools, kind):
    job = make_job(tmp_path, VideoFormat(72, 56), jm_tools, kind=kind, frames=9, codec=JM)
    types = "".join(picture.slice_type for picture in run(job, jm_tools.stock_encoder, "stock", JM).pictures)
    assert types == {"intra": "IIIIIIIII", "lowdelay": "IPPPPPPPP"}.get(kind, types)
    assert kind != "randomaccess" or set(types) == {"I", "P", "B"} and types.count("B") == 7
