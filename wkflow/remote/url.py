"""The URLs that lead to a dataset on a server.

::

    <base>/datasets/6114d9410100009f0096c640            the dataset's id
    <base>/datasets/l4_sample-6114d9410100009f0096c640  with its name in front
    <base>/datasets/<organization>/<name>               deprecated: the server is asked for the id
    <base>/links/<key>                                  short link: the server is asked where it leads

A slash, ``/view``, a camera (``#1,2,3``) and parameters may follow. Only the parameter ``token`` means something: a sharing
token. Only the standard library is imported here, since a token is taken out of the command line before anything else is done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from wkflow.errors import UsageError

_ID = re.compile(r"[0-9a-f]{24}")
_ANNOTATION = re.compile(r"/annotations/(?:[A-Za-z]+/)?[0-9a-fA-F]+/?$")
_REMOTE = re.compile(r"https?://", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}
_FORMS = "https://webknossos.org/datasets/<name>-<id>, .../datasets/<id>, .../datasets/<organization>/<name> or .../links/<key>"


@dataclass(frozen=True)
class Target:
    """A dataset on the server ``base``: by its id, by organization and name, or by a short link. Never holds a secret."""

    base: str
    dataset_id: str | None = None
    organization: str | None = None
    name: str | None = None
    link: str | None = None

    def __str__(self) -> str:
        if self.link is not None:
            return f"{self.base}/links/{quote(self.link, safe='')}"
        if self.dataset_id is not None:
            return f"{self.base}/datasets/{self.dataset_id}"
        return f"{self.base}/datasets/{quote(self.organization or '', safe='')}/{quote(self.name or '', safe='')}"


def is_remote(text: str) -> bool:
    """Whether a target is a URL; anything else is a path."""
    return _REMOTE.match(text) is not None


def without_secret(text: str) -> tuple[str, str | None]:
    """A URL without its sharing token, and the token. Other texts stay as they are."""
    if not is_remote(text):
        return text, None
    try:
        parts = urlsplit(text)
    except ValueError:
        return text, None
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    tokens = [value for key, value in pairs if key.lower() in ("token", "sharingtoken") and value.strip()]
    rest = [(key, value) for key, value in pairs if key.lower() not in ("token", "sharingtoken")]
    if len(rest) == len(pairs):
        return text, None
    return urlunsplit(parts._replace(query=urlencode(rest))), tokens[0] if tokens else None


def parse_target(text: str) -> Target:
    """What a URL leads to. Raises ``UsageError`` if it is no dataset's, or if there is a secret in it."""
    shown, _ = without_secret(text)
    try:
        parts = urlsplit(text.strip())
        port = f":{parts.port}" if parts.port not in (None, _PORTS.get(parts.scheme)) else ""
    except ValueError:  # whose text may have a password in it
        raise _not_a_dataset("") from None
    if "@" in parts.netloc:
        raise UsageError(
            "a user name or password in the URL is not used, and would be shown",
            where="TARGET",
            hint="leave it out, and set WK_TOKEN",
        )
    path = parts.path
    if not parts.hostname or any(part in (".", "..") for part in unquote(path).split("/")):
        raise _not_a_dataset(shown)
    prefix, found, rest = path.partition("/datasets/")
    if not found and _ANNOTATION.search(path):
        raise UsageError(
            "The provided URL leads to an annotation, not a dataset.",
            where=f"TARGET {shown}",
            hint="give the URL of the dataset",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    origin = f"{parts.scheme.lower()}://{host.lower()}{port}"
    before, is_link, key = prefix.rpartition("/links/")
    if is_link and key.strip("/"):
        return Target(origin + before.rstrip("/"), link=unquote(key.strip("/")))
    base = origin + prefix.rstrip("/")
    names = [unquote(name) for name in rest.removesuffix("/").split("/")]
    dataset_id = names[0].lower().rpartition("-")[2]
    if _ID.fullmatch(dataset_id) and names[1:] in ([], ["view"]):
        return Target(base, dataset_id=dataset_id)
    if names[2:] in ([], ["view"]) and len(names) > 1 and all(names):
        return Target(base, organization=names[0], name=names[1])
    raise _not_a_dataset(shown)


def _not_a_dataset(shown: str) -> UsageError:
    return UsageError(
        "The provided URL does not lead to a WEBKNOSSOS dataset or annotation.",
        where=f"TARGET {shown}".rstrip(),
        hint=f"give a URL such as {_FORMS}",
    )
