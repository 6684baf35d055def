"""docs/report.md: its examples run as they are written."""

import re
import shlex
from pathlib import Path

from report_material import make_store

from fprdo_bridge import cli

PAGE = Path(__file__).resolve().parents[2] / "docs" / "report.md"


def test_the_examples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = make_store(tmp_path, items=("chelsea", "rocket"))
    (tmp_path / "out").mkdir()
    store.rename(tmp_path / "out" / "demo")
    (tmp_path / "out/demo/runs/two").rename(tmp_path / "out/demo/runs/quickstart")
    (block,) = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for line in block.splitlines():
        assert cli.main(shlex.split(line)[1:]) == 0, line
        assert Path("page.html").is_file()
        Path("page.html").unlink()


def test_the_animation(tmp_path, monkeypatch, capsys):
    """The example of fprdo show, on a clip of three frames."""
    import numpy as np

    from fprdo_bridge.importance.idse_file import ones, write_idse
    from fprdo_bridge.video.formats import VideoFormat

    monkeypatch.chdir(tmp_path)
    fmt = VideoFormat(32, 32)
    write_idse("clip.idse", [ones(fmt)] * 3, fmt, frame_count=3)
    frame = np.full(32 * 32 * 3 // 2, 90, np.uint8).tobytes()
    Path("clip.y4m").write_bytes(b"YUV4MPEG2 W32 H32 F30:1 C420mpeg2\n" + 3 * (b"FRAME\n" + frame))
    (block,) = re.findall("^fprdo show .*", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    words = shlex.split(block, comments=True)[1:]
    assert cli.main([*words, "--force-weights"]) == 0
    assert Path("map.webp").is_file() and capsys.readouterr().out == "map.webp\n"
