"""On which nodes pods may run: node selectors, tolerations, as texts or as the API has them."""

from __future__ import annotations

import re
from typing import Any

from wkflow.kubernetes.values import listed, name, shown, text, whole, word, wrong

MACHINE_TYPE = "node.kubernetes.io/instance-type"

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_OPERATORS = ("Equal", "Exists")
_FIELDS = ("key", "operator", "value", "effect", "tolerationSeconds")


def node_selector(key: str, value: Any) -> dict[str, str]:
    """Labels that nodes must have, of an object or of ``label=value;label=value``."""
    labels: dict[str, str] = {}
    for label, wanted in value.items() if isinstance(value, dict) else [_pair(key, part) for part in listed(value)]:
        if label in labels:
            raise wrong(key, f"{shown(label)} was given twice", "give it once")
        labels[_label_key(key, label)] = label_value(key, wanted)
    if MACHINE_TYPE in labels:
        raise wrong(key, f"{MACHINE_TYPE} has a key of its own", f"give machine_type={labels[MACHINE_TYPE]}")
    return labels


def tolerations(key: str, value: Any) -> list[dict[str, Any]]:
    """Taints that do not keep pods from a node, as objects of the API, of those or of ``key=value:NoSchedule;key``."""
    parts = [value] if isinstance(value, dict) else listed(value)
    return [_toleration(key, part if isinstance(part, dict) else _parsed(word(key, part))) for part in parts]


def label_value(key: str, value: Any) -> str:
    """Of a label; numbers and booleans as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        raise wrong(key, "this is read as a number", f'give a text in JSON: {{"{key}": "{value}"}}')
    said = "" if value == "" else text(key, value)
    if said and not _NAME.fullmatch(said):
        raise wrong(
            key, f"{shown(said)} cannot be the value of a label", "it has at most 63 letters, digits, -, _ and ."
        )
    return said


def _pair(key: str, part: Any) -> tuple[str, str]:
    label, separator, value = word(key, part).partition("=")
    if not separator:
        raise wrong(key, f"{shown(label)} is not of the form label=value", f"example: {key}=disk=fast;zone=a")
    return label.strip(), value.strip()


def _label_key(key: str, said: str) -> str:
    prefix, separator, rest = said.rpartition("/")
    if separator:
        name(key, prefix)
    if not _NAME.fullmatch(rest):
        raise wrong(key, f"{shown(said)} cannot be the name of a label", "see `kubectl get nodes --show-labels`")
    return said


def _parsed(said: str) -> dict[str, str]:
    taint, colon, effect = said.rpartition(":") if ":" in said else (said, "", "")
    taint_key, equal, value = taint.partition("=")
    found = {"key": taint_key.strip(), "operator": "Equal" if equal else "Exists"}
    return found | ({"value": value.strip()} if equal else {}) | ({"effect": effect.strip()} if colon else {})


def _toleration(key: str, given: dict[str, Any]) -> dict[str, Any]:
    if unknown := [one for one in given if one not in _FIELDS]:
        raise wrong(key, f"a toleration has no {shown(unknown[0])}", f"it has {', '.join(_FIELDS)}")
    found: dict[str, Any] = {one: text(key, given[one]) for one in ("key", "operator", "effect") if one in given}
    operator = found.get("operator", "Equal")
    if operator not in _OPERATORS:
        raise wrong(key, f"there is no operator {shown(operator)}", f"it is one of {', '.join(_OPERATORS)}")
    if "effect" in found and found["effect"] not in _EFFECTS:
        raise wrong(key, f"there is no effect {shown(found['effect'])}", f"it is one of {', '.join(_EFFECTS)}")
    if "key" in found:
        _label_key(key, found["key"])
    elif operator != "Exists":
        raise wrong(key, "a toleration needs a key", f"example: {key}=dedicated=wkflow:NoSchedule")
    if "value" in given:
        found["value"] = label_value(key, given["value"])
        if operator == "Exists" and found["value"]:
            raise wrong(key, "the operator Exists takes no value", "leave the value out, or give the operator Equal")
    if "tolerationSeconds" in given:
        found["tolerationSeconds"] = whole(key, given["tolerationSeconds"])
        if found.get("effect") != "NoExecute":
            raise wrong(key, "tolerationSeconds needs the effect NoExecute", "give it, or leave tolerationSeconds out")
    return found
