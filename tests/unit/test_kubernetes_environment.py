"""What pods get of the environment."""

from __future__ import annotations

from wkflow.kubernetes.environment import secrets


def test_pods_get_tokens_and_keys_and_nothing_else() -> None:
    wanted = {
        "WK_TOKEN": "a",
        "WKFLOW_SHARING_TOKEN": "b",
        "AWS_ACCESS_KEY_ID": "c",
        "AWS_SECRET_ACCESS_KEY__S3_EXAMPLE_ORG": "d",
        "AWS_ENDPOINT_URL_S3": "e",
        "WKFLOW_S3_HTTP_ENDPOINTS": "f",
        "WKFLOW_HTTP_TRIES": "3",
    }
    others = {
        "PATH": "/bin",
        "HOME": "/root",
        "SSH_AUTH_SOCK": "x",
        "AWS_PROFILE": "p",
        "WKFLOW_OWNER": "o",
        "MY_WK_TOKEN": "m",
    }
    assert secrets({**wanted, **others, "AWS_SESSION_TOKEN": ""}) == wanted
