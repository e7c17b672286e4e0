"""A token on the command line is there for everybody to see. So the program starts itself anew without it.

From then on the token is in the environment, which nobody but the user can read. Little is imported here: this comes first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from wkflow.remote.credentials import SHARING_TOKEN, TOKEN
from wkflow.remote.url import without_secret

_OPTION = "--token"


def hide(arguments: Sequence[str]) -> None:
    """Start this program anew if there is a secret in its arguments, which are the last ones of the process."""
    kept, secrets = taken(arguments)
    if secrets:
        command = sys.orig_argv[: len(sys.orig_argv) - len(arguments)]
        os.execve(sys.executable, [sys.executable, *command[1:], *kept], {**os.environ, **secrets})  # noqa: S606


def taken(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The arguments without secrets, and these as environment variables.

    >>> taken(["downsample", "--token", "T", "https://wk.example/datasets/6114d9410100009f0096c640?token=S"])
    (['downsample', 'https://wk.example/datasets/6114d9410100009f0096c640'], {'WK_TOKEN': 'T', 'WKFLOW_SHARING_TOKEN': 'S'})
    """
    kept: list[str] = []
    secrets: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            kept += [argument, *rest]
        elif argument == _OPTION and (value := next(rest, None)) is not None:
            secrets[TOKEN] = value
        elif argument.startswith(f"{_OPTION}="):
            secrets[TOKEN] = argument.partition("=")[2]
        else:
            url, token = without_secret(argument)
            kept.append(url)
            if token:
                secrets[SHARING_TOKEN] = token
    return kept, secrets
