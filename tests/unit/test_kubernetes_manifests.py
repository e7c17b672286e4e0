"""The manifests in ``envs/kubernetes`` are what the API understands, and say what the docs and the code say."""

from __future__ import annotations

import re
from typing import Any

import kubernetes.client
import pytest
import yaml
from workflow.commands import ROOT

from wkflow.kubernetes.rights import RIGHTS, Right

FOLDER = ROOT / "envs/kubernetes"
_MODELS = {
    "PersistentVolumeClaim": "V1PersistentVolumeClaim",
    "PersistentVolume": "V1PersistentVolume",
    "ServiceAccount": "V1ServiceAccount",
    "Role": "V1Role",
    "RoleBinding": "V1RoleBinding",
    "Job": "V1Job",
}
_VERSIONS = {"Job": "batch/v1", "Role": "rbac.authorization.k8s.io/v1", "RoleBinding": "rbac.authorization.k8s.io/v1"}


def documents() -> list[tuple[str, dict[str, Any]]]:
    return [
        (path.name, content)
        for path in sorted(FOLDER.glob("*.yaml"))
        for content in yaml.safe_load_all(path.read_text())
    ]


@pytest.mark.parametrize(
    ("name", "content"), documents(), ids=lambda value: value if isinstance(value, str) else value["kind"]
)
def test_every_key_is_one_of_the_api(name: str, content: dict[str, Any]) -> None:
    kind = content["kind"]
    assert content["apiVersion"] == _VERSIONS.get(kind, "v1")
    _check(content, _MODELS[kind], kind)


def _check(content: Any, model: str, path: str) -> None:
    """Against the client's models, which are made of the API's own schema. They raise ``ValueError`` for missing values."""
    if (inside := re.fullmatch(r"list\[(.*)\]", model)) and isinstance(content, list):
        for one in content:
            _check(one, inside.group(1), path)
    elif model.startswith("dict(") or not hasattr(kubernetes.client, model):
        assert not isinstance(content, list), path
    else:
        kind = getattr(kubernetes.client, model)
        keys = {name: attribute for attribute, name in kind.attribute_map.items()}
        assert content.keys() <= keys.keys(), f"{path}: {content.keys() - keys.keys()}"
        kind(**{keys[key]: value for key, value in content.items()})
        for key, value in content.items():
            _check(value, kind.openapi_types[keys[key]], f"{path}.{key}")


def test_the_check_finds_what_is_wrong() -> None:
    _, job = next((name, content) for name, content in documents() if content["kind"] == "Job")
    job["spec"]["template"]["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(AssertionError, match="volumeMount"):
        _check(job, "V1Job", "Job")
    with pytest.raises(ValueError, match="template"):
        _check({"spec": {}}, "V1Job", "Job")


def test_the_role_has_the_rights_that_are_checked_and_no_others() -> None:
    role = next(content for _, content in documents() if content["kind"] == "Role")
    given = [
        Right(verb, resource, group)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]
    assert sorted(given) == sorted(RIGHTS)


def test_the_docs_list_the_rights() -> None:
    rows = re.findall(
        r"^\| `([a-z/]+)`(?: \(batch\))? \| ([a-z, ]+) \|", (ROOT / "docs/kubernetes.md").read_text(), re.MULTILINE
    )
    listed = {(verb.strip(), resource) for resource, verbs in rows for verb in verbs.split(",")}
    assert listed == {(right.verb, right.resource) for right in RIGHTS}


def test_names_agree() -> None:
    """Of the claim and the service account, in all files."""
    by_kind = {content["kind"]: content for _, content in documents()}
    pod = by_kind["Job"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == by_kind["ServiceAccount"]["metadata"]["name"]
    (claim,) = [
        volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume
    ]
    names = {content["metadata"]["name"] for _, content in documents() if content["kind"] == "PersistentVolumeClaim"}
    assert names == {claim}
