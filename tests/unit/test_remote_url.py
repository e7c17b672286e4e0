"""URLs of datasets, in all their forms."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from wkflow.cli.secret import taken
from wkflow.errors import UsageError
from wkflow.remote.credentials import Credentials, mask
from wkflow.remote.http import Http
from wkflow.remote.url import Target, is_remote, parse_target, without_secret

ID = "6114d9410100009f0096c640"
BASE = "https://wk.example"


@pytest.mark.parametrize("before", ["", "l4_sample-", "a-b-c-"])
@pytest.mark.parametrize(
    "after", ["", "/", "/view", "/view/", "#1,2,3", "/view#1,2,3,0,1.5", "?x=1", "/view?x=1&y=2#3"]
)
@pytest.mark.parametrize("base", [BASE, f"{BASE}:9000", f"{BASE}/prefix", "http://[::1]:9000"])
def test_urls_with_an_id(base: str, before: str, after: str) -> None:
    assert parse_target(f"{base}/datasets/{before}{ID}{after}") == Target(base, dataset_id=ID)


@pytest.mark.parametrize("same", ["HTTPS://WK.Example", f"{BASE}:443", f"{BASE}/", f" {BASE}", f"{BASE}:443//"])
def test_one_server_has_one_base(same: str) -> None:
    for rest in (f"/datasets/{ID}", "/datasets/lab/name", "/links/key"):
        assert parse_target(f"{same}{rest}").base == BASE
    assert parse_target(f"https://wk.example:80/datasets/{ID}").base == f"{BASE}:80"
    assert parse_target(f"http://wk.example:80/datasets/{ID}").base == "http://wk.example"


@pytest.mark.parametrize("after", ["", "/", "/view", "/view#1,2,3", "?x=1"])
def test_urls_with_organization_and_name(after: str) -> None:
    found = parse_target(f"{BASE}/datasets/Organization_X/my%20data%2Fset{after}")
    assert found == Target(BASE, organization="Organization_X", name="my data/set")
    assert parse_target(str(found)) == found


@pytest.mark.parametrize("name", ["view", "links", "datasets", "annotations", "6114"])
@pytest.mark.parametrize("organization", ["view", "links", "datasets", "annotations"])
def test_words_of_urls_may_be_names(organization: str, name: str) -> None:
    expected = Target(BASE, organization=organization, name=name)
    for after in ("", "/", "/view", "/view/"):
        assert parse_target(f"{BASE}/datasets/{organization}/{name}{after}") == expected


def test_short_links() -> None:
    for prefix in ("", "/prefix", "/one/two"):
        expected = Target(f"{BASE}{prefix}", link="Ab-c_1")
        for after in ("", "/", "?x=1#2", "#camera"):
            assert parse_target(f"{BASE}{prefix}/links/Ab-c_1{after}") == expected
        assert parse_target(str(expected)) == expected


@pytest.mark.parametrize("token", ["ABC", "a-b_c-d", "-", "x" * 200])
@pytest.mark.parametrize("around", ["?token={}", "/view?token={}#1,2,3", "?x=1&token={}", "?token={}&x=1", "?TOKEN={}"])
def test_a_sharing_token_is_taken_out_and_does_not_change_the_target(token: str, around: str) -> None:
    url, found = without_secret(f"{BASE}/datasets/{ID}{around.format(token)}")
    assert found == token
    assert parse_target(url) == Target(BASE, dataset_id=ID)
    assert "oken" not in url


@pytest.mark.parametrize("kind", ["", "Task/", "Explorational/", "CompoundTask/", "CompoundProject/"])
def test_annotations_are_refused(kind: str) -> None:
    with pytest.raises(UsageError, match="leads to an annotation, not a dataset"):
        parse_target(f"{BASE}/annotations/{kind}{ID}?x=1#2")


@pytest.mark.parametrize(
    "url",
    [
        BASE,
        f"{BASE}/datasets",
        f"{BASE}/datasets/",
        f"{BASE}/datasets/no-id",
        f"{BASE}/datasets/a/b/c",
        f"{BASE}/datasets/../{ID}",
        f"{BASE}/datasets/%2e%2e/{ID}",
        f"{BASE}/dataset/{ID}",
        "https:///datasets/x",
        f"{BASE}/datasets//{ID}",
        f"{BASE}/datasets/lab//view",
        f"{BASE}/datasets/x-{ID}0",
        f"{BASE}/datasets/{ID}/edit/x",
        f"{BASE}/links/",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="does not lead to a WEBKNOSSOS dataset or annotation") as error:
        parse_target(url)
    assert "/datasets/<" in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        f"https://me:secret@wk.example/datasets/{ID}",
        f"https://me:secret@wk.ex\u2100mple/datasets/{ID}",
        f"https://:secret@wk.example/datasets/{ID}",
        f"https://me:secret/datasets/{ID}",
        f"https://[me:secret@wk.example/datasets/{ID}",
        f"https://wk.example:port/datasets/{ID}",
        f"https://wk.example:99999/datasets/{ID}?token=secret",
    ],
)
def test_urls_that_cannot_be_used_are_refused_without_being_shown(url: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_target(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://x", True),
        ("HTTPS://x", True),
        ("/path", False),
        ("http:/x", False),
        ("s3://x", False),
        ("x.http://", False),
    ],
)
def test_only_http_is_remote(text: str, expected: bool) -> None:
    assert is_remote(text) is expected


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: not {".", ".."} & set(name.split("/"))
)


@given(NAMES, NAMES)
def test_the_text_of_a_target_leads_to_it(organization: str, name: str) -> None:
    target = Target(BASE, organization=organization, name=name)
    assert parse_target(str(target)) == target


@given(
    st.lists(
        st.sampled_from(["--token", "T0K3N", "--token=T0K3N", "-k", "--jobs", "4", f"{BASE}/datasets/{ID}?token=T0K3N"])
    )
)
def test_no_secret_stays_on_the_command_line(arguments: list[str]) -> None:
    kept, secrets = taken(arguments)
    lonely = [
        one for before, one in zip(["", *arguments], arguments, strict=False) if one == "T0K3N" and before != "--token"
    ]
    assert len([one for one in kept if "T0K3N" in one]) <= len(lonely)
    assert set(secrets.values()) <= {"T0K3N", "-k", "--jobs", "4", "--token", *arguments}


def test_what_follows_two_dashes_is_snakemakes() -> None:
    assert taken(["downsample", "x", "--", "--token", "T"]) == (["downsample", "x", "--", "--token", "T"], {})


def test_blank_tokens_are_absent_and_others_are_masked() -> None:
    assert Credentials.from_env({"WK_TOKEN": "  "}).token is None
    assert "S3CRET" not in repr(Credentials("S3CRET", "S3CRET"))
    environment = {"WK_TOKEN": "S3CRET", "WKFLOW_SHARING_TOKEN": "0THER"}
    assert mask("a S3CRET b 0THER c?token=x&sharingToken=y", environment) == "a *** b *** c?token=***&sharingToken=***"
    assert mask("S3CRET S3CRET2", {"WK_TOKEN": "S3CRET", "WKFLOW_SHARING_TOKEN": "S3CRET2"}) == "*** ***"
    assert mask("https://me:pass@wk.example/a@b", {}) == "https://***@wk.example/a@b"
    with pytest.raises(UsageError) as error:
        Credentials.from_env({"WK_TOKEN": "S3CRET\r\nX-Evil: 1"})
    assert "S3CRET" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://wk.example/prefix/api", True),
        ("https://WK.EXAMPLE:443/prefix/api", True),
        ("https://wk.example/prefix", True),
        ("https://wk.example/prefixed/api", False),
        ("https://wk.example/other", False),
        ("http://wk.example/prefix/api", False),
        ("https://wk.example:444/prefix/api", False),
        ("https://wk.example.evil/prefix/api", False),
        ("https://wk.example@evil/prefix/api", False),
        ("https://me@wk.example/prefix/api", False),
        ("https://wk.example/prefix/../other", False),
        ("https://wk.example/prefix/%2e%2e/other", False),
        ("https://wk.example/prefix/..%2fother", False),
        ("https://wk.example/prefix/..\\other", False),
        ("https://wk.example/prefix/./x", False),
        ("https://wk.example/prefix?x=1", True),
        ("https://wk.example/prefix#/../x", False),
        ("https://wk.example/pr%65fix/api", True),
        ("https://wk.example\\@evil/prefix/api", False),
        ("https://evil\\@wk.example/prefix/api", False),
        ("https://wk.example./prefix/api", False),
        ("https://wk.example:99999/prefix/api", False),
        ("https://[::1/prefix/api", False),
        ("s3://wk.example/prefix/api", False),
        ("/prefix/api", False),
        ("", False),
    ],
)
def test_the_token_goes_below_trusted_prefixes_only(url: str, expected: bool) -> None:
    assert Http(trusted=["https://wk.example/prefix"], credentials=Credentials("T")).is_trusted(url) is expected


PIECES = [
    "https:",
    "http:",
    "//",
    "/",
    "\\",
    "@",
    ":",
    "443",
    "wk.example",
    "evil",
    "prefix",
    "..",
    ".",
    "%2e",
    "%2f",
    "?",
    "#",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join), st.sampled_from(["", "/prefix"]))
def test_the_token_goes_to_no_other_host(rest: str, prefix: str) -> None:
    url = f"https://wk.example{rest}" if not rest.startswith("http") else rest
    if Http(trusted=[f"{BASE}{prefix}"], credentials=Credentials("T")).is_trusted(url):
        sent = urlsplit(requests.Request("GET", url).prepare().url)
        assert (sent.scheme, sent.hostname, sent.port or 443) == ("https", "wk.example", 443)
        assert sent.username is None
        assert f"{sent.path}/".startswith(f"{prefix}/")
        assert ".." not in unquote(sent.path).split("/")


@given(st.sampled_from(["", "/prefix", "/a/b"]), st.text(st.characters(codec="utf-8"), max_size=20))
def test_urls_of_all_kinds_are_understood_or_refused(prefix: str, rest: str) -> None:
    for url in (f"{BASE}{prefix}/{rest}", f"{BASE}{prefix}/datasets/{rest}", f"https://{rest}"):
        shown, _ = without_secret(url)
        assert without_secret(shown) == (shown, None)
        try:
            target = parse_target(shown)
        except UsageError:
            continue
        assert parse_target(str(target)) == target


@given(
    st.from_regex(r"[A-Za-z0-9_-]{8,30}", fullmatch=True),
    st.sampled_from(["", "/", "/view", "/view/"]),
    st.lists(st.sampled_from(["x=1", "y", "view=a%26b"]), max_size=2),
    st.sampled_from(["", "#1,2,3", "#"]),
    st.sampled_from([f"datasets/{ID}", f"datasets/name-{ID}", "datasets/lab/name", "links/key", "elsewhere"]),
)
def test_no_secret_is_in_a_target_or_an_error(token: str, view: str, others: list[str], camera: str, kind: str) -> None:
    token = f"S3CRET{token}"
    for place in range(len(others) + 1):
        query = "&".join([*others[:place], f"token={token}", *others[place:]])
        text = f"{BASE}/{kind}{view}?{query}{camera}"
        url, found = without_secret(text)
        assert found == token
        assert token not in url
        for one in (url, text):
            try:
                said = f"{parse_target(one)} {parse_target(one)!r}"
            except UsageError as error:
                said = f"{error} {error!r}"
            assert token not in said
