"""A stand-in for a WEBKNOSSOS server, with real sockets: the server itself and its data store, on ports of their own.

::

    with Server(tmp_path / "storage") as server:
        dataset_id = server.add(folder, "l4_sample")          # a dataset on disk, which is moved into the storage
        ... f"{server.url}/datasets/{dataset_id}" ...
        server.faults.add("POST", "/finishUpload", lose_answer, first=1)
        assert server.requests.count("PATCH") == 0

What it does is what is known of the real one; that the released client of webknossos works with it is a test.
"""

from .faults import Answer, Faults, Rule, body, drop, lose_answer, redirect, slow, status, truncate, wrong_length
from .server import Server
from .state import EDITOR, READER, STRANGER

__all__ = [
    "EDITOR",
    "READER",
    "STRANGER",
    "Answer",
    "Faults",
    "Rule",
    "Server",
    "body",
    "drop",
    "lose_answer",
    "redirect",
    "slow",
    "status",
    "truncate",
    "wrong_length",
]
