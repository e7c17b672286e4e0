"""What ``--job-resources`` asks of Kubernetes: what Snakemake, its plugin and the API get, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from fractions import Fraction
from math import ceil
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from snakemake.resources import Resources
from snakemake_executor_plugin_kubernetes import parse_persistent_volumes

from wkflow.cli.job_resources import parse_job_resources
from wkflow.errors import UsageError
from wkflow.kubernetes.resources import Given, Volume, default_resources, kubernetes_resources, mount_of


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as caught:
        kubernetes_resources(values)
    assert caught.value.where == "--job-resources"
    assert caught.value.hint
    return str(caught.value)


def as_snakemake_reads(arguments: list[str]) -> dict[str, int | str]:
    parsed = Resources.parse(arguments, allow_expressions=True)
    job = {"wildcards": {}, "input": [], "attempt": 1, "threads": 1, "rulename": "region", "async_run": None}
    return {key: resource.evaluate(**job).value for key, resource in parsed.items()}


def volume(claim: str, path: str) -> Volume:
    return Volume(claim, PurePosixPath(path))


def of_text(text: str) -> Given:
    return kubernetes_resources(parse_job_resources(text))


def test_what_the_documentation_gives() -> None:
    text = "image=registry.example/wkflow:1.0,volumes=datasets:/data,memory=8G,cpu=4"
    expected = Given(
        memory_mb=8000,
        threads=4,
        cpu_scalar=1.0,
        image="registry.example/wkflow:1.0",
        volumes=(volume("datasets", "/data"),),
    )
    assert of_text(text) == expected
    as_json = {"image": "registry.example/wkflow:1.0", "volumes": ["datasets:/data"], "memory": "8G", "cpu": 4}
    assert of_text(json.dumps(as_json)) == expected


def test_nothing_given_leaves_all_to_the_estimates() -> None:
    assert kubernetes_resources({}) == Given()
    assert default_resources(Given()) == ["scale=0"]


# ---------------------------------------------------------------- memory and disk


@pytest.mark.parametrize(
    ("value", "megabytes"),
    [
        ("32G", 32000),
        ("32GB", 32000),
        ("32 GB", 32000),
        (" 32g ", 32000),
        ("32Gi", 34360),
        ("32GiB", 34360),
        (32_000_000_000, 32000),
        (32e9, 32000),
        ("32000000001", 32001),
        ("1.5T", 1_500_000),
        ("500M", 500),
        ("500000001", 501),
        ("1e9", 1000),
    ],
)
@pytest.mark.parametrize("key", ["memory", "mem", "MEMORY"])
def test_memory_is_read_as_by_kubernetes_and_rounded_up(key: str, value: Any, megabytes: int) -> None:
    assert kubernetes_resources({key: value}) == Given(memory_mb=megabytes)


@pytest.mark.parametrize("key", ["mem_mb", "memory-mb"])
@pytest.mark.parametrize(("value", "megabytes"), [(32000, 32000), ("32000", 32000), (1500.5, 1501), ("32G", 32000)])
def test_megabytes_are_meant_where_the_key_says_so(key: str, value: Any, megabytes: int) -> None:
    assert kubernetes_resources({key: value}) == Given(memory_mb=megabytes)
    assert kubernetes_resources({"disk_mb": value}) == Given(others={"disk_mb": megabytes})


@pytest.mark.parametrize(("key", "value"), [("mem", "10M"), ("memory", "499000000"), ("mem", "10Ki"), ("mem_mb", 499)])
def test_a_pod_gets_what_snakemake_needs_and_the_user_is_told(key: str, value: Any) -> None:
    found = kubernetes_resources({key: value})
    assert found.memory_mb == 500
    assert found.notes == (f"{key}: {value} is too little for a pod, which gets 500 MB",)


@pytest.mark.parametrize("value", [32, "32", 999_999, 1.5])
@pytest.mark.parametrize("key", ["mem", "disk"])
def test_a_number_that_would_be_bytes_is_refused(key: str, value: Any) -> None:
    assert f"give a unit, such as {key}={value}G" in refusal({key: value})


@pytest.mark.parametrize("value", ["500m", "1.5m"])
def test_thousandths_of_bytes_are_refused(value: str) -> None:
    assert f"write {value[:-1]}M" in refusal({"memory": value})


@pytest.mark.parametrize(
    "value",
    [
        "",
        " ",
        "G",
        "much",
        "1,5G",
        "0",
        0,
        "0G",
        "-1G",
        -5,
        "1e99",
        "1000P",
        10**40,
        "0x10",
        "٣G",
        "5e",
        True,
        None,
        float("inf"),
        float("nan"),
        ["1G"],
        {"a": 1},
        "1G\n2",
        "1\u202eG",
    ],
)
@pytest.mark.parametrize("key", ["memory", "mem_mb", "disk", "ephemeral-storage"])
def test_what_is_no_amount_of_bytes_is_refused(key: str, value: Any) -> None:
    assert refusal({key: value}).startswith(f"{key}: ")


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    assert "too large" in refusal({"memory": 10**5000})


@pytest.mark.parametrize("key", ["disk", "disk_mb", "ephemeral-storage", "ephemeralStorage"])
def test_disk(key: str) -> None:
    assert kubernetes_resources({key: "20G"}) == Given(others={"disk_mb": 20000})


@given(st.decimals("0.5", 10**5, places=9), st.sampled_from(["G", "Gi", "GB"]))
def test_memory_is_never_less_than_asked(number: Any, unit: str) -> None:
    asked = Fraction(number) * (1024**3 if "i" in unit else 1000**3)
    found = kubernetes_resources({"memory": f"{number:f}{unit}"}).memory_mb
    assert found is not None
    assert asked <= found * 10**6 < asked + 10**6


# ---------------------------------------------------------------- processors


@pytest.mark.parametrize(
    ("value", "threads", "scalar"),
    [
        ("4", 4, 1.0),
        (4, 4, 1.0),
        (4.0, 4, 1.0),
        (0.5, 1, 0.5),
        ("500m", 1, 0.5),
        ("1500m", 2, 0.75),
        ("2500m", 3, 2.5 / 3),
        ("1u", 1, 0.001),
        ("4k", 4000, 1.0),
    ],
)
@pytest.mark.parametrize("key", ["cpu", "cpus", "cores", "threads"])
def test_processors(key: str, value: Any, threads: int, scalar: float) -> None:
    found = kubernetes_resources({key: value})
    assert found.threads == threads
    assert found.cpu_scalar == pytest.approx(scalar)


@given(st.integers(1, 4_096_000))
@example(1001)  # where the quotient itself is too small
@example(2022)
def test_the_plugin_requests_just_what_was_asked(milli: int) -> None:
    found = kubernetes_resources({"cpu": f"{milli}m"})
    assert found.threads == ceil(milli / 1000)
    assert found.cpu_scalar is not None
    read = float(str(found.cpu_scalar))  # from the command line
    assert int(found.threads * read * 1000) == milli


@pytest.mark.parametrize(
    "value", ["", "0", 0, -1, "-500m", "4G", "many", "1.5.0", True, None, [4], float("nan"), 10**6]
)
def test_what_is_no_number_of_processors_is_refused(value: Any) -> None:
    assert refusal({"cpu": value}).startswith("cpu: ")


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("value", "minutes"),
    [
        (90, 90),
        ("90", 90),
        (1.5, 2),
        ("90m", 90),
        ("90min", 90),
        ("2h", 120),
        ("1.5h", 90),
        ("1h30m", 90),
        ("1d", 1440),
        ("1d2h3m4s", 1564),
        ("2H", 120),
        ("30s", 1),
        ("02:00:00", 120),
        ("02:00:01", 121),
        ("100:00:00", 6000),
        ("1-02:00:00", 1560),
    ],
)
@pytest.mark.parametrize("key", ["time", "walltime", "runtime"])
def test_time(key: str, value: Any, minutes: int) -> None:
    assert kubernetes_resources({key: value}) == Given(runtime_minutes=minutes)


@pytest.mark.parametrize(
    "value",
    [
        0,
        "0",
        "0h",
        "00:00:00",
        -5,
        "-5",
        "2:00",
        "1-2",
        "1:2:3",
        "1:60:00",
        "5x",
        "h",
        "1h 30m",
        "30m1h",
        "1G",
        "1E",
        "",
        True,
        None,
        float("inf"),
        ["2h"],
        "UNLIMITED",
        "99999999h",
        "٣h",
    ],
)
def test_what_is_no_time_is_refused(value: Any) -> None:
    assert refusal({"time": value}).startswith("time: ")


def test_a_clock_of_two_numbers_is_ambiguous() -> None:
    assert "may be hours or minutes" in refusal({"time": "2:00"})


# ---------------------------------------------------------------- image, namespace, service account, ...


@pytest.mark.parametrize("key", ["image", "container_image", "container-image", "containerImage"])
@pytest.mark.parametrize(
    "value",
    [
        "wkflow",
        "wkflow:1.0",
        "lab/wkflow",
        "registry.example/lab/wkflow:1.0_a-B",
        "registry.example:5000/wkflow",
        "Registry.Example/wkflow",
        "localhost/wkflow:x",
        "localhost:5000/wkflow",
        "[::1]:5000/wkflow",
        "a--b/c__d/e.f",
        f"wkflow@sha256:{'a' * 64}",
        f"wkflow:1.0@sha256:{'a' * 64}",
    ],
)
def test_images(key: str, value: str) -> None:
    assert kubernetes_resources({key: value}) == Given(image=value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "a b",
        "Wkflow",
        "lab/Wkflow",
        "Lab/wkflow",
        "wkflow:",
        "wkflow:-a",
        "wkflow:a:b",
        "a//b",
        "/a",
        "a/",
        "-a",
        "a..b",
        "a_-b",
        "http://a/b",
        "wkflow@sha256:abc",
        "a" * 256,
        "a:" + "b" * 129,
        "a\nb",
        "$(id)",
        "--image=a",
        1.5,
        True,
        None,
        ["a"],
        {"a": "b"},
        "é",
        "a@",
        "\ud800",
    ],
)
def test_what_cannot_be_an_image_is_refused(value: Any) -> None:
    assert refusal({"image": value}).startswith("image: ")


@pytest.mark.parametrize(("key", "field"), [("namespace", "namespace"), ("service_account", "service_account")])
@pytest.mark.parametrize(("value", "text"), [("lab", "lab"), (" a-1 ", "a-1"), (12, "12")])
def test_names(key: str, field: str, value: Any, text: str) -> None:
    assert kubernetes_resources({key: value}) == Given(**{field: text})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Lab",
        "a_b",
        "-a",
        "a-",
        "a b",
        "a/b",
        "é",
        "a\nb",
        "a" * 254,
        ".a",
        "a..b",
        "--x",
        "$(id)",
        1.5,
        True,
        None,
        ["a", "b"],
        {"a": "b"},
    ],
)
@pytest.mark.parametrize("key", ["namespace", "service_account", "priority_class", "image_pull_secrets", "pvc"])
def test_what_is_no_name_for_the_api_is_refused(key: str, value: Any) -> None:
    if key == "image_pull_secrets" and value in (["a", "b"], None, ""):
        return
    if key == "pvc" and value == "a\nb":
        value = "a\nb:/data"
    assert refusal({key: value}).startswith(f"{key}: ")


def test_names_are_not_too_long() -> None:
    assert refusal({"service_account": ".".join(["a" * 60] * 5)}).startswith("service_account: ")


def test_a_namespace_has_no_dots() -> None:
    assert refusal({"namespace": "a.b"}).startswith("namespace: ")
    assert kubernetes_resources({"serviceAccountName": "a.b"}) == Given(service_account="a.b")


@pytest.mark.parametrize(
    ("value", "is_meant"), [(True, True), ("yes", True), ("True", True), (1, True), (False, False)]
)
def test_privileged(value: Any, is_meant: bool) -> None:
    assert kubernetes_resources({"privileged": value}) == Given(privileged=is_meant)


@pytest.mark.parametrize("key", ["privileged", "scale"])
@pytest.mark.parametrize("value", ["", "maybe", 2, -1, 0.5, None, [True], {}])
def test_what_is_neither_true_nor_false_is_refused(key: str, value: Any) -> None:
    assert refusal({key: value}).startswith(f"{key}: ")


# ---------------------------------------------------------------- volumes


@pytest.mark.parametrize(
    "key", ["volumes", "volume", "mounts", "pvc", "claims", "persistent_volumes", "persistentVolumes"]
)
@pytest.mark.parametrize(
    "value",
    ["a:/data;b:/data/b", "a:/data; b:/data/b/ ;", ["a:/data", "b:/data//b"], {"a": "/data", "b": "/data/./b"}],
)
def test_volumes(key: str, value: Any) -> None:
    found = kubernetes_resources({key: value})
    assert found.volumes == (volume("a", "/data"), volume("b", "/data/b"))
    parsed = parse_persistent_volumes([str(one) for one in found.volumes])
    assert [(one.name, one.path) for one in parsed] == [("a", Path("/data")), ("b", Path("/data/b"))]


@pytest.mark.parametrize(
    "path", ["/", "//", "/proc", "/proc/1", "/dev/shm", "/sys", "/etc", "/etc/x", "/workdir", "/usr"]
)
def test_nothing_is_mounted_over_what_pods_need(path: str) -> None:
    assert "nothing can be mounted at" in refusal({"volumes": f"a:{path}"})
    assert "nothing can be mounted at" in refusal({"volumes": {"a": path}})


@pytest.mark.parametrize("path", ["/workdir/x", "/usr/local", "/usr/bin/x", "/var", "/var/run/secrets", "/lib64"])
def test_nor_below_or_above(path: str) -> None:
    assert "nothing can be mounted at" in refusal({"volumes": f"a:{path}"})


@pytest.mark.parametrize(
    "path", ["/data", "/usr/people", "/var/data", "/tmp/x", "/home", "/workdirs", "/gpfs/a b/$HOME", "/é"]
)
def test_other_places(path: str) -> None:
    assert kubernetes_resources({"volumes": f"a:{path}"}).volumes == (volume("a", path),)


@pytest.mark.parametrize(
    "value",
    [
        "",
        [],
        {},
        ";",
        "a",
        "a:",
        "a:data",
        "a:./data",
        "a:/data/../x",
        "a:/x:ro",
        ":/data",
        "a:/x\ny",
        "a:/x\x00",
        "a b:/x",
        {"a": None},
        {"a": 5},
        {"a": ["/x"]},
        {"a\n": "/x\n/y"},
        [["a:/x"]],
        [{"a": "/x"}],
        [None],
        5,
        True,
        None,
        "a:/\ud800",
        "a:/x\u2028y",
        "-a:/x",
        "--volumes:/x",
    ],
)
def test_what_is_no_volume_is_refused(value: Any) -> None:
    assert refusal({"volumes": value}).startswith("volumes: ")


@pytest.mark.parametrize("claim", ["a.b", "workdir", "a" * 64])
def test_claims_whose_name_the_plugin_cannot_use_are_refused(claim: str) -> None:
    assert "cannot be mounted" in refusal({"volumes": f"{claim}:/data"})
    assert "cannot be mounted" in refusal({"volumes": {claim: "/data"}})


def test_a_claim_is_mounted_once_and_alone() -> None:
    assert "the claim a is mounted twice" in refusal({"volumes": "a:/x;a:/y"})
    assert "two claims are mounted at /x" in refusal({"volumes": "a:/x;b:/x/"})


@pytest.mark.parametrize("value", ["/srv/data", ["/srv/data"], "/srv/data:/data", ["a:/x", "/srv"]])
def test_host_paths_are_refused_with_what_to_do(value: Any) -> None:
    assert "kind hostPath" in refusal({"mounts": value})


def test_the_volume_that_a_path_lies_on_is_the_innermost() -> None:
    volumes = [volume("a", "/data"), volume("b", "/data/b"), volume("c", "/other")]
    assert mount_of(Path("/data/b/x"), volumes) == volumes[1]
    assert mount_of(Path("/data/b"), volumes[::-1]) == volumes[1]
    assert mount_of(Path("/data/bx"), volumes) == volumes[0]
    assert mount_of(Path("/dat"), volumes) is None
    assert mount_of(Path("/data"), []) is None


# ---------------------------------------------------------------- resources of the plugin


@pytest.mark.parametrize(
    ("values", "others"),
    [
        ({"gpu": 1}, {"gpu": 1, "gpu_manufacturer": "nvidia"}),
        ({"gpus": "2", "gpu_manufacturer": "AMD"}, {"gpu": 2, "gpu_manufacturer": "amd"}),
        ({"nvidia.com/gpu": 1}, {"gpu": 1, "gpu_manufacturer": "nvidia"}),
        ({"amd.com/gpu": "1"}, {"gpu": 1, "gpu_manufacturer": "amd"}),
        ({"machine_type": "n2.standard-4"}, {"machine_type": "n2.standard-4"}),
        ({"instance-type": "m5.large"}, {"machine_type": "m5.large"}),
        ({"scale": 1}, {"scale": 1}),
        ({"scale": "false"}, {"scale": 0}),
        ({"scale": 0, "gpu": 1}, {"scale": 0, "gpu": 1, "gpu_manufacturer": "nvidia"}),
    ],
)
def test_resources_of_the_plugin(values: dict[str, Any], others: dict[str, int | str]) -> None:
    found = kubernetes_resources(values)
    assert found == Given(others=others)
    assert as_snakemake_reads(default_resources(found)) == {"scale": 0, **others}


@pytest.mark.parametrize(
    "values",
    [
        {"gpu": 0},
        {"gpu": 1.5},
        {"gpu": "a100"},
        {"gpu": True},
        {"gpu": 1, "gpu_manufacturer": "intel"},
        {"gpu_manufacturer": "amd"},
        {"nvidia.com/gpu": 1, "gpu_manufacturer": "amd"},
        {"gpu": 1, "scale": 1},
        {"machine_type": "a b"},
        {"machine_type": ""},
        {"machine_type": "x" * 64},
        {"machine_type": 1.5},
    ],
)
def test_what_the_plugin_or_the_api_would_refuse(values: dict[str, Any]) -> None:
    assert refusal(values).partition(":")[0] in (*values, "scale")


@pytest.mark.parametrize(
    "value", ["input", "attempt", "5", "2h", "{x}", "$HOME", "${HOME}", "~", "\\", "'", '"', "a=b"]
)
def test_snakemake_reads_names_and_code_as_text(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert as_snakemake_reads(default_resources(Given(others={"machine_type": value})))["machine_type"] == value


# ---------------------------------------------------------------- the pod's spec


@pytest.mark.parametrize(
    ("values", "pod"),
    [
        ({"node_selector": {"disk": "fast", "a.b/c": ""}}, {"nodeSelector": {"disk": "fast", "a.b/c": ""}}),
        ({"nodeSelector": "disk=fast; a.b/c="}, {"nodeSelector": {"disk": "fast", "a.b/c": ""}}),
        ({"node_selector": {"gpu": True, "n": 4}}, {"nodeSelector": {"gpu": "true", "n": "4"}}),
        ({"node_selector": {}}, {"nodeSelector": {}}),
        ({"tolerations": "a"}, {"tolerations": [{"key": "a", "operator": "Exists"}]}),
        (
            {"tolerations": "a=b:NoSchedule;c.d/e:NoExecute"},
            {
                "tolerations": [
                    {"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"},
                    {"key": "c.d/e", "operator": "Exists", "effect": "NoExecute"},
                ]
            },
        ),
        ({"tolerations": {"operator": "Exists"}}, {"tolerations": [{"operator": "Exists"}]}),
        (
            {"tolerations": [{"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 60}]},
            {"tolerations": [{"key": "a", "effect": "NoExecute", "value": "b", "tolerationSeconds": 60}]},
        ),
        ({"image_pull_secrets": "a; b.c"}, {"imagePullSecrets": [{"name": "a"}, {"name": "b.c"}]}),
        ({"imagePullSecrets": [{"name": "a"}, "b"]}, {"imagePullSecrets": [{"name": "a"}, {"name": "b"}]}),
        ({"priority_class": "low"}, {"priorityClassName": "low"}),
        ({"priorityClassName": "low"}, {"priorityClassName": "low"}),
        (
            {"run_as_user": 1000, "runAsGroup": "100", "fs_group": 0, "supplemental_groups": [1, "2"]},
            {"securityContext": {"runAsUser": 1000, "runAsGroup": 100, "fsGroup": 0, "supplementalGroups": [1, 2]}},
        ),
        ({"supplementalGroups": "1;2"}, {"securityContext": {"supplementalGroups": [1, 2]}}),
        ({"supplementalGroups": 7}, {"securityContext": {"supplementalGroups": [7]}}),
    ],
)
def test_what_is_put_into_the_spec_of_pods(values: dict[str, Any], pod: dict[str, Any]) -> None:
    assert kubernetes_resources(values) == Given(pod=pod)
    assert json.loads(json.dumps(pod)) == pod


def test_a_selector_in_pairs_on_the_command_line() -> None:
    assert of_text("node_selector=disk=fast;zone=a,mem=1G") == Given(
        memory_mb=1000, pod={"nodeSelector": {"disk": "fast", "zone": "a"}}
    )


_BAD_SELECTORS: list[Any] = [
    *("disk", "=fast", "a=b=c", "a=b c", "a=b;a=c", "A.B/c=d", "a/b/c=d", "/a=b", 5, [{}]),
    *({"a": "x" * 64}, {"a": None}, {"a": 1.5}, {"a": ["b"]}, {"": "a"}),
    {"node.kubernetes.io/instance-type": "m5.large"},
]
_BAD_TOLERATIONS: list[dict[str, Any]] = [
    {},
    {"key": "a", "effects": "NoSchedule"},
    {"key": "a", "operator": "In"},
    {"key": "a", "operator": "Exists", "value": "b"},
    {"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5},
    {"key": "a", "effect": "NoExecute", "tolerationSeconds": -5},
    {"key": ["a"]},
    {"key": "a", "effect": {"a": 1}},
    {"key": "a", "value": "b\nc"},
]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("node_selector", value) for value in _BAD_SELECTORS),
        *(("tolerations", value) for value in ("a:Never", "a=b c", "=b", "a b", ":NoSchedule", "a=b=c", 1.5)),
        ("tolerations", [["a"]]),
        *(("tolerations", [value]) for value in _BAD_TOLERATIONS),
        ("image_pull_secrets", [{"names": "a"}]),
        ("image_pull_secrets", [{"name": ["a"]}]),
        *(("run_as_user", value) for value in (-1, 2**31, "root", 1.5, True, None, [1], "1m")),
        *(("supplemental_groups", value) for value in ("a", [None], [[1]], "1;x", [1.5])),
    ],
)
def test_what_the_api_would_not_take_in_a_spec_is_refused(key: str, value: Any) -> None:
    assert refusal({key: value}).startswith(f"{key}: ")


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mem", "memory"),
        ("cpu", "threads"),
        ("gpu", "nvidia.com/gpu"),
        ("runAsUser", "run-as-user"),
        ("time", "runtime"),
    ],
)
def test_one_thing_by_two_names_is_refused(one: str, other: str) -> None:
    assert refusal({one: 1, other: 1}).startswith(f"{other}: this was given twice, also as {one}")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("partition", "node_selector"),
        ("queue", "node_selector"),
        ("account", "namespace"),
        ("qos", "priority_class"),
        ("nodes", "one pod"),
        ("ntasks", "one pod"),
        ("cpus-per-task", "give cpu"),
        ("cpus_per_task", "give cpu"),
        ("mem-per-cpu", "give memory"),
        ("batch_size", "slurm+batching"),
        ("batch-size", "slurm+batching"),
        ("gres", "give gpu"),
        ("securityContext", "run_as_user"),
        ("job-name", "names its jobs"),
        ("backoffLimit", "tries failed jobs again"),
        ("command", "decides what a pod runs"),
        ("activeDeadlineSeconds", "give time"),
        ("limits", "give memory and cpu"),
    ],
)
@pytest.mark.parametrize("value", ["x", 1, True, None])
def test_words_of_slurm_and_what_wkflow_does_itself_are_refused(key: str, words: str, value: Any) -> None:
    message = refusal({key: value})
    assert message.startswith(f"{key}: this cannot be given on Kubernetes\n")
    assert words in message


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("memroy", "did you mean memory?"),
        ("node_selectors", "did you mean node_selector?"),
        ("img", "did you mean image?"),
        ("x", "there are memory, cpu, "),
        ("partitions", "node_selector"),
        ("", "there are memory, cpu, "),
        ("x\ny", "there are memory, cpu, "),
        ("q" * 10**6, "there are memory, cpu, "),
    ],
)
def test_a_key_that_there_is_not_is_refused_with_the_nearest(key: str, words: str) -> None:
    message = refusal({key: 1})
    assert "there is no such key for Kubernetes" in message
    assert words in message
    assert len(message) < 1000


# ---------------------------------------------------------------- what all runs have in common


def test_what_is_given_wins_over_what_is_common_key_by_key() -> None:
    common = of_text(
        "image=a:1,volumes=a:/a,mem=1M,scale=1,disk=1G,fs_group=5,run_as_user=5,node_selector=a=b,privileged=1"
    )
    own = of_text("mem=2G,volumes=b:/b,cpu=500m,disk=2G,fs_group=6,node_selector=c=d,privileged=no")
    assert own.over(common) == Given(
        memory_mb=2000,
        threads=1,
        cpu_scalar=0.5,
        image="a:1",
        volumes=(volume("b", "/b"),),
        privileged=False,
        others={"scale": 1, "disk_mb": 2000},
        pod={"securityContext": {"fsGroup": 6, "runAsUser": 5}, "nodeSelector": {"c": "d"}},
    )
    assert own.over(Given()) == own
    assert Given().over(common) == common


def test_what_contradicts_what_is_common_is_refused() -> None:
    with pytest.raises(UsageError, match="limits"):
        kubernetes_resources({"gpu": 1}).over(kubernetes_resources({"scale": 1}))


# ---------------------------------------------------------------- anything

_KEYS = [
    "mem",
    "cpu",
    "disk",
    "gpu",
    "image",
    "namespace",
    "volumes",
    "node_selector",
    "machine_type",
    "service_account",
    "scale",
    "privileged",
    "time",
]
_KEYS += [
    "tolerations",
    "image_pull_secrets",
    "priority_class",
    "run_as_user",
    "supplemental_groups",
    "gpu_manufacturer",
]
_WORDS = st.text("ab:/;=.-_ 019mGiE\n$'\"", max_size=12)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _WORDS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_WORDS | st.sampled_from(["key", "operator", "value", "effect", "name"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=5), _JSON, max_size=4))
def test_anything_is_understood_or_refused(values: dict[str, Any]) -> None:
    try:
        found = kubernetes_resources(values)
    except UsageError:
        assert refusal(values).count("\n") == 2
        return
    assert as_snakemake_reads(default_resources(found)) == {"scale": 0, **found.others}
    assert json.loads(json.dumps(found.pod)) == found.pod
    for text in (found.image, found.namespace, found.service_account, *map(str, found.volumes)):
        assert text is None or (text.isprintable() and not text.startswith("-"))


@given(st.text(max_size=30))
def test_any_text_on_the_command_line_is_understood_or_refused(value: str) -> None:
    for key in _KEYS:
        with suppress(ValueError):  # of which UsageError is one
            assert of_text(f"{key}={value}") == of_text(f" {key} = {value} ")
