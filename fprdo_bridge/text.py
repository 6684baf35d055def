"""Text from outside, such as file names, on its way to a terminal or a figure."""

import re

# Control characters of C0 and C1, line and paragraph separators, and characters that turn the direction of writing.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile("[\ud800-\udfff]")  # bytes of a file name that are not UTF-8


def printable(text: str) -> str:
    """`text` in one line that no terminal obeys: control characters become escapes such as \\x1b, \\n and \\u202e.

    Bytes of a file name that are not UTF-8 become escapes such as \\udcff. Everything else stays as it is.
    """
    text = _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):x}", text)
