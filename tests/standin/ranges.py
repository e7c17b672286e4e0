"""Parts of answers."""

from __future__ import annotations

import re

from .faults import Answer


def ranged(answer: Answer, header: str) -> Answer:
    """The part of a stored file that was asked for; JSON that is made for the request always comes whole."""
    answer.headers["Accept-Ranges"] = "bytes"
    wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if not wanted or wanted[0] == "bytes=-" or answer.headers.get("Content-Type") == "application/json":
        return answer
    size = len(answer.content)
    first, last = wanted[1], wanted[2]
    if first:
        start, stop = int(first), min(size, int(last) + 1 if last else size)
    else:
        start, stop = max(0, size - int(last)), size
    if start >= stop:
        return Answer(416, b"", {**answer.headers, "Content-Range": f"bytes */{size}"})
    headers = {**answer.headers, "Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    return Answer(206, answer.content[start:stop], headers)
