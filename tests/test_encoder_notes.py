"""What a patched encoder says that its user should know reaches him, whichever encoder it is."""

import pytest

from fprdo_bridge import encoders

NOTE = "7 distortions were limited; raise IDSETau or set IDSEClip"


@pytest.mark.parametrize("name", encoders.ENCODERS)
def test_notes_and_warnings_are_read(name):
    log = encoders.get(name).parse_log(f"x\nIDSE: warning: {NOTE}\nIDSE: note: another\nIDSE: error: not a note\n")
    assert log.notes == (NOTE, "another")
    assert encoders.get(name).parse_log("x\n").notes == ()
