"""URLs of datasets, in all their forms."""

from __future__ import annotations

import pytest
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


@pytest.mark.parametrize("after", ["", "/", "/view", "/view#1,2,3", "?x=1"])
def test_urls_with_organization_and_name(after: str) -> None:
    found = parse_target(f"{BASE}/datasets/Organization_X/my%20data%2Fset{after}")
    assert found == Target(BASE, organization="Organization_X", name="my data/set")
    assert parse_target(str(found)) == found


def test_short_links() -> None:
    assert parse_target(f"{BASE}/prefix/links/Ab-c_1?x=1#2") == Target(f"{BASE}/prefix", link="Ab-c_1")


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
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="does not lead to a WEBKNOSSOS dataset or annotation") as error:
        parse_target(url)
    assert "/datasets/<" in str(error.value)


@pytest.mark.parametrize(
    "url", [f"https://me:secret@wk.example/datasets/{ID}", f"https://wk.example:port/datasets/{ID}"]
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
    ],
)
def test_the_token_goes_below_trusted_prefixes_only(url: str, expected: bool) -> None:
    assert Http(trusted=["https://wk.example/prefix"], credentials=Credentials("T")).is_trusted(url) is expected
