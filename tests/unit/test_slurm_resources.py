"""What ``--job-resources`` asks of Slurm, as resources that Snakemake and its plugin take just so."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snakemake.resources import Resources
from snakemake_executor_plugin_slurm.utils import set_gres_string  # type: ignore[import-untyped]
from snakemake_executor_plugin_slurm.validation import validate_slurm_extra  # type: ignore[import-untyped]
from snakemake_interface_common.exceptions import WorkflowError

from wkflow.cli.job_resources import parse_job_resources
from wkflow.errors import UsageError
from wkflow.slurm.resources import Given, default_resources, slurm_resources


class Granted(dict[str, Any]):
    """Resources of a job, as the plugin looks at them."""

    __getattr__ = dict.__getitem__


def gres_of(resources: Mapping[str, Any]) -> str:
    return str(set_gres_string(SimpleNamespace(resources=Granted(resources))))


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as caught:
        slurm_resources(values)
    assert caught.value.where == "--job-resources"
    assert caught.value.hint
    return str(caught.value)


def extra(values: dict[str, Any]) -> object:
    return slurm_resources(values).others.get("slurm_extra")


def as_snakemake_reads(arguments: list[str]) -> dict[str, int | str]:
    parsed = Resources.parse(arguments, allow_expressions=True)
    job = {"wildcards": {}, "input": [], "attempt": 1, "threads": 1, "rulename": "region", "async_run": None}
    return {key: resource.evaluate(**job).value for key, resource in parsed.items()}


def test_what_the_issue_gives() -> None:
    given = slurm_resources(
        parse_job_resources("mem=10M,time=02:00:00,partition=main,cpus-per-task=4,batch-size=3,nice=5")
    )
    assert given == Given(
        memory_mb=10,
        runtime_minutes=120,
        cpus=4,
        batch_size=3,
        others={"slurm_partition": "main", "slurm_extra": "--nice=5"},
    )


def test_nothing_given_leaves_all_to_the_estimates() -> None:
    assert slurm_resources({}) == Given()
    assert default_resources(Given()) == []


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize(
    ("value", "megabytes"),
    [
        (100, 100),
        (100.0, 100),
        ("100", 100),
        (" 100 ", 100),
        ("100M", 100),
        ("100m", 100),
        ("100MB", 100),
        ("100Mb", 100),
        ("32G", 32 * 1024),
        ("32gb", 32 * 1024),
        ("2T", 2 * 1024**2),
        ("1K", 1),
        ("1024K", 1),
        ("1025KB", 2),
        ("999999999999K", 976562500),
    ],
)
@pytest.mark.parametrize(("key", "field"), [("mem", "memory_mb"), ("mem-per-cpu", "memory_per_cpu_mb")])
def test_memory_is_read_as_by_slurm(key: str, field: str, value: Any, megabytes: int) -> None:
    assert slurm_resources({key: value}) == Given(**{field: megabytes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value", ["1.5G", 1.5, "1 G", "1GiB", "1P", "-5", -5, "0x10", "1e3", "G", "much", "", True, None, float("inf"), "٣"]
)
def test_what_is_no_memory_for_sbatch_is_refused(value: Any) -> None:
    assert refusal({"mem": value}).startswith("mem: ")
    assert refusal({"mem_per_cpu": value}).startswith("mem-per-cpu: ")


@pytest.mark.parametrize("value", [0, "0", "0G", 0.0])
def test_all_the_memory_of_a_node_is_refused(value: Any) -> None:
    assert "all the memory of a node" in refusal({"mem": value})


@pytest.mark.parametrize("key", ["mem", "mem_mb", "memory"])
@pytest.mark.parametrize("per_cpu", ["mem-per-cpu", "mem_per_cpu", "mem_mb_per_cpu"])
def test_memory_is_given_in_one_way_only(key: str, per_cpu: str) -> None:
    assert "contradicts mem-per-cpu" in refusal({key: "1G", per_cpu: "1G"})


# ---------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("value", "minutes"),
    [
        (90, 90),
        (90.0, 90),
        ("90", 90),
        ("5:00", 5),
        ("5:01", 6),
        ("0:30", 1),
        ("1:99", 3),
        ("02:00:00", 120),
        ("02:00:01", 121),
        ("90:90:90", 90 * 60 + 92),
        ("1-0", 1440),
        ("1-2", 1560),
        ("1-2:3", 1563),
        ("1-2:3:4", 1564),
        ("0-0:0:1", 1),
        ("7-00", 10080),
    ],
)
@pytest.mark.parametrize("key", ["time", "runtime"])
def test_time_is_read_as_by_slurm(key: str, value: Any, minutes: int) -> None:
    assert slurm_resources({key: value}) == Given(runtime_minutes=minutes)


@pytest.mark.parametrize(
    "value",
    ["5m", "2h", "1d", "1-", ":5", "5:", "1:2:3:4", "1-2:3:4:5", "1.5", 1.5, "+5", "-5", -5, "", True, None, "٣"],
)
def test_what_is_no_time_for_sbatch_is_refused(value: Any) -> None:
    assert refusal({"time": value}).startswith("time: ")


@pytest.mark.parametrize("value", [0, "0", "0:00", "00:00:00", "0-0"])
def test_no_time_is_refused(value: Any) -> None:
    assert "0 would mean no limit" in refusal({"time": value})


@pytest.mark.parametrize("value", ["UNLIMITED", "unlimited", "INFINITE", "-1", -1])
def test_time_without_limit_is_refused(value: Any) -> None:
    assert "a limit is needed" in refusal({"time": value})


_SIXTY = st.integers(0, 59)


@given(
    st.integers(0, 400), st.integers(0, 23), _SIXTY, _SIXTY.filter(bool), st.sampled_from(["clock", "days", "short"])
)
def test_times_are_rounded_up_to_minutes(days: int, hours: int, minutes: int, seconds: int, form: str) -> None:
    asked = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    text = {
        "days": f"{days}-{hours:02}:{minutes:02}:{seconds:02}",
        "clock": f"{days * 24 + hours}:{minutes:02}:{seconds:02}",
        "short": f"{asked // 60}:{seconds:02}",
    }[form]
    got = slurm_resources({"time": text}).runtime_minutes
    assert got is not None
    assert asked / 60 <= got < asked / 60 + 1


# ---------------------------------------------------------------- counts


@pytest.mark.parametrize("key", ["cpus-per-task", "cpus_per_task", "cpus", "threads"])
@pytest.mark.parametrize("value", [4, "4", 4.0, "04"])
def test_cpus(key: str, value: Any) -> None:
    assert slurm_resources({key: value}) == Given(cpus=4)


@pytest.mark.parametrize("key", ["batch-size", "batch_size"])
def test_batch_size(key: str) -> None:
    assert slurm_resources({key: 3}) == Given(batch_size=3)


@pytest.mark.parametrize("value", [0, -1, "0", "x", "", 1.5, "1-2", True, False, None])
@pytest.mark.parametrize("key", ["cpus-per-task", "batch-size", "nodes", "ntasks"])
def test_what_is_no_number_above_0_is_refused(key: str, value: Any) -> None:
    assert refusal({key: value}).startswith(f"{key}: ")


@pytest.mark.parametrize("key", ["nodes", "ntasks", "tasks"])
def test_a_job_is_one_task_on_one_node(key: str) -> None:
    assert slurm_resources({key: 1}) == Given()
    assert "one task on one node" in refusal({key: 2})


# ---------------------------------------------------------------- partition, account, ...


@pytest.mark.parametrize(
    ("key", "resource"),
    [
        ("partition", "slurm_partition"),
        ("slurm_partition", "slurm_partition"),
        ("account", "slurm_account"),
        ("slurm-account", "slurm_account"),
        ("qos", "qos"),
        ("constraint", "constraint"),
        ("clusters", "clusters"),
        ("cluster", "clusters"),
    ],
)
@pytest.mark.parametrize(("value", "text"), [("any", "any"), (1234, "1234"), (1234.0, "1234"), (" é ", "é")])
def test_resources_of_the_plugin(key: str, resource: str, value: Any, text: str) -> None:
    assert slurm_resources({key: value}) == Given(others={resource: text})


@pytest.mark.parametrize("value", ["", " ", "a\nb", "a\0", "\x1b[2J", True, False, None, ["a"], {"a": 1}])
@pytest.mark.parametrize("key", ["partition", "account", "qos", "constraint", "gres", "gpus"])
def test_what_is_no_text_is_refused(key: str, value: Any) -> None:
    assert refusal({key: value}).startswith(f"{key}: ")


@pytest.mark.parametrize("value", ["a,b", "a b"])
def test_the_plugin_would_take_the_first_of_two_accounts(value: str) -> None:
    assert "more than one" in refusal({"account": value})


def test_lists_of_partitions_are_passed_on() -> None:
    assert slurm_resources({"partition": "main,low"}).others == {"slurm_partition": "main,low"}


@pytest.mark.parametrize("value", ["lustre", "gpu:1", "gpu:a100:2", "gpu:a.100:2", "scratch:10G"])
def test_gres(value: str) -> None:
    assert gres_of(slurm_resources({"gres": value}).others) == f" --gres={value}"


@pytest.mark.parametrize("value", ["gpu:1,lustre:2", "gpu:", "gpu:x:1K", "'gpu:1'", "a b", "gpu:x:y:1", "é"])
def test_gres_that_the_plugin_refuses(value: str) -> None:
    with pytest.raises(WorkflowError, match="GRES"):
        gres_of({"gres": value})
    assert refusal({"gres": value}).startswith("gres: ")


@pytest.mark.parametrize("key", ["gpus", "gpu"])
@pytest.mark.parametrize(
    ("value", "flag"), [(2, " --gpus=2"), ("2", " --gpus=2"), ("a100:1", " --gpus=a100:1"), ("a.1:3", " --gpus=a.1:3")]
)
def test_gpus(key: str, value: Any, flag: str) -> None:
    assert gres_of(slurm_resources({key: value}).others) == flag


@pytest.mark.parametrize("value", [0, -1, "a100", "a100:0", "a-b:1", "a:1,b:2"])
def test_gpus_that_the_plugin_cannot_pass_on(value: Any) -> None:
    assert refusal({"gpus": value}).startswith("gpus: ")


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("mem", "mem_mb"),
        ("mem-per-cpu", "mem_per_cpu"),
        ("time", "runtime"),
        ("cpus-per-task", "threads"),
        ("partition", "slurm_partition"),
        ("mail-type", "mail_type"),
    ],
)
def test_one_option_by_two_names_is_refused(one: str, other: str) -> None:
    assert refusal({one: 1, other: 1}).startswith(f"{other}: this was given twice")


@pytest.mark.parametrize(
    ("letter", "words"),
    [
        ("p", "partition="),
        ("A", "account="),
        ("t", "time="),
        ("c", "cpus-per-task="),
        ("n", "ntasks="),
        ("w", "nodelist="),
        ("-p", "partition="),
        ("J", "wkflow names its jobs"),
        ("d", "wkflow knows which job needs which"),
    ],
)
def test_single_letters_are_refused_with_the_long_name(letter: str, words: str) -> None:
    message = refusal({letter: "main"})
    assert message.startswith(f"{letter}: ")
    assert words in message


@pytest.mark.parametrize(
    ("key", "who"),
    [
        ("job-name", "wkflow"),
        ("job_name", "wkflow"),
        ("--job-name", "wkflow"),
        ("comment", "Snakemake"),
        ("output", "Snakemake"),
        ("error", "Snakemake"),
        ("input", "Snakemake"),
        ("export", "Snakemake"),
        ("export-file", "Snakemake"),
        ("chdir", "Snakemake"),
        ("workdir", "Snakemake"),
        ("wrap", "Snakemake"),
        ("array", "Snakemake"),
        ("parsable", "Snakemake"),
        ("test-only", "Snakemake"),
        ("wait", "Snakemake"),
        ("requeue", "wkflow tries failed jobs again"),
        ("no-requeue", "wkflow tries failed jobs again"),
        ("uid", "the user who starts wkflow"),
        ("gid", "the user who starts wkflow"),
        ("hold", "start wkflow later"),
        ("dependency", "start wkflow when the other jobs are done"),
        ("ntasks-per-node", "one task"),
        ("mem-per-gpu", "mem-per-cpu"),
        ("cpus-per-gpu", "cpus-per-task"),
        ("gpu_model", "gpus=a100:1"),
        ("slurm_extra", "one by one"),
    ],
)
@pytest.mark.parametrize("value", ["x", True, False])
def test_what_others_manage_is_refused(key: str, who: str, value: Any) -> None:
    message = refusal({key: value})
    assert message.startswith(f"{key}: ")
    assert who in message


@pytest.mark.parametrize(
    ("key", "option"), [("job-na", "job-name"), ("part", "partition"), ("out", "output"), ("mem-per", "mem-per-cpu")]
)
def test_names_cut_off_are_refused_since_sbatch_understands_them(key: str, option: str) -> None:
    assert f"sbatch may take this for {option}" in refusal({key: "x"})


@pytest.mark.parametrize("key", ["", " ", "z", "9", "Mem", "a b", "a=b", "é", "a;b", "nice-", "a--mem", "-", "$(id)"])
def test_what_is_no_name_of_an_option_is_refused(key: str) -> None:
    assert "not the name of an option" in refusal({key: "x"})


# ---------------------------------------------------------------- other options of sbatch


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"nice": 5}, "--nice=5"),
        ({"nice": -5}, "--nice=-5"),
        ({"mail_type": "END", "exclude": "n1"}, "--exclude=n1 --mail-type=END"),
        ({"exclusive": True}, "--exclusive"),
        ({"exclusive": "true"}, "--exclusive"),
        ({"exclusive": ""}, "--exclusive"),
        ({"exclusive": "user"}, "--exclusive=user"),
        ({"exclusive": False}, None),
        ({"exclusive": "false"}, None),
        ({"exclusive": None}, None),
        ({"cpu-freq": 1.5}, "--cpu-freq=1.5"),
        ({"wckey": "a b"}, "'--wckey=a b'"),
        ({"batch": "big"}, "--batch=big"),
        ({"exclude": "rack-n", "nice": 5}, "'--exclude=rack-n' --nice=5"),
    ],
)
def test_other_options_are_handed_to_sbatch(values: dict[str, Any], expected: str | None) -> None:
    assert extra(values) == expected


def test_the_order_of_what_is_given_does_not_matter() -> None:
    assert extra({"nice": 5, "begin": "now"}) == extra({"begin": "now", "nice": 5}) == "--begin=now --nice=5"


@pytest.mark.parametrize(
    "value", ["a\nb", "a\0b", "\x1b", "node-J1", "a -n b", "a --mem=5", ["a"], {"a": 1}, float("nan"), float("inf")]
)
def test_values_that_sbatch_or_the_plugin_would_misunderstand_are_refused(value: Any) -> None:
    assert refusal({"wckey": value}).startswith("wckey: ")


_NASTY = st.text("ab -_=,;:.'\"\\$`{}()[]&|*?#~!%<>éJnpotDA1", max_size=20)


@given(st.dictionaries(st.sampled_from(["wckey", "nodelist", "reservation", "switches"]), _NASTY))
def test_a_shell_gives_sbatch_what_was_given_and_the_plugin_agrees(values: dict[str, str]) -> None:
    try:
        options = str(extra(values) or "")
    except UsageError:
        return
    assert shlex.split(options) == [
        f"--{key}={value}" if value else f"--{key}" for key, value in sorted(values.items())
    ]
    validate_slurm_extra(SimpleNamespace(resources=SimpleNamespace(slurm_extra=options)))


def test_a_real_shell_expands_nothing() -> None:
    values = {"wckey": "$HOME `id` ~ * 'x' \"y\" \\n", "nodelist": "a-n", "exclude": "$(id);id&&id|id>x{a,b}"}
    shown = subprocess.run(f"printf '%s\\n' {extra(values)}", shell=True, check=True, capture_output=True, text=True)
    assert shown.stdout.splitlines() == [f"--{key}={value}" for key, value in sorted(values.items())]


# ---------------------------------------------------------------- through Snakemake


def test_resources_as_arguments() -> None:
    given = slurm_resources({"partition": "main", "gpus": 2, "nice": 5})
    assert default_resources(given) == ["slurm_partition='main'", "gpu=2", "slurm_extra='--nice=5'"]


@pytest.mark.parametrize(
    "value",
    [
        *("any", "input", "threads", "attempt", "wildcards", "system_tmpdir", "5", "2h", "None", "1+1", "<TBD>"),
        *(
            "{x}",
            "{wildcards}",
            "$HOME",
            "${HOME}",
            "\\$HOME",
            "~",
            "~root",
            "a&b|c*2",
            "\\",
            "\\n",
            "'",
            '"',
            "'\"",
            "a=b",
            "%s",
        ),
    ],
)
def test_snakemake_reads_names_and_code_as_text(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    given = slurm_resources({"constraint": value, "partition": value, "wckey": value})
    assert given.others["constraint"] == value
    assert as_snakemake_reads(default_resources(given)) == given.others


@given(st.dictionaries(st.sampled_from(["partition", "constraint", "qos", "wckey"]), _NASTY | st.text()))
def test_snakemake_reads_any_text_as_it_is(values: dict[str, str]) -> None:
    try:
        given = slurm_resources(values)
    except UsageError:
        return
    assert as_snakemake_reads(default_resources(given)) == given.others


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.floats() | st.text()))
def test_anything_is_understood_or_refused(values: dict[str, Any]) -> None:
    try:
        given = slurm_resources(values)
    except UsageError:
        return
    assert as_snakemake_reads(default_resources(given)) == given.others
