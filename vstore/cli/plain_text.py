"""Text from files and errors, made safe to print.

A store may come from a stranger. What is in it reaches the terminal only through here, so that an
id cannot move the cursor, hide a line, or break an error into two.
"""

from __future__ import annotations

import datetime as dt


def one_line(text: str, *, width: int | None = None) -> str:
    r"""Return text on one line, blanks collapsed, what does not print written as ``\x1b``.

    Parameters
    ----------
    width : int, optional
        Cut to so many characters.
    """
    if width is not None:
        text = text[: 4 * width]  # a text may have megabytes
    text = " ".join(text.split())
    if not text.isprintable():
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return text if width is None or len(text) <= width else text[: width - 3] + "..."


def size(size_bytes: float) -> str:
    """Return a number of bytes in the unit that reads best."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:,.0f} {unit}" if unit == "bytes" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:,.1f} TB"


def counted(count: int, noun: str) -> str:
    """Return a number and its noun: "1 hit", "2 hits", "3 batches"."""
    ending = "" if count == 1 else "es" if noun.endswith("tch") else "s"
    return f"{count:,} {noun}{ending}"


def moment(time_us: int) -> str:
    """Return a time in UTC, to the second."""
    try:
        time = dt.datetime.fromtimestamp(time_us / 1e6, dt.UTC)
    except (OverflowError, ValueError, OSError):  # a stranger's file may say anything
        return f"{time_us} us"
    return f"{time:%Y-%m-%d %H:%M:%S}Z"


def share(value: float) -> str:
    """Return a share in percent; 100 % only where nothing is missing."""
    percent = 100 * value
    shown = f"{percent:.1f}"
    return "99.9 %" if shown == "100.0" and value < 1 else f"{shown} %"
