"""A shell completes commands, options and layer names."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from workflow.commands import ROOT, program, wkflow

BIN = Path(sys.executable).parent
PRINTED = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


def offered(words: str) -> list[str]:
    """What bash is told for the last word."""
    environment = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    done = program(BIN / "wkflow", environment={**environment, "_WKFLOW_COMPLETE": "complete_bash"})
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("wkflow do", ["downsample"]),
        ("wkflow downsample --coa", ["--coarsest-mag"]),
        ("wkflow downsample --interp", ["--interpolation-mode"]),
        ("wkflow downsample --sampling-mode c", ["constant_z"]),
        ("wkflow plan --da", ["--dag"]),
        ("wkflow downsample --nothing", []),
    ],
)
def test_commands_options_and_values_are_completed(words: str, expected: list[str]) -> None:
    assert offered(words) == expected


def test_layer_names_are_those_of_the_dataset(dataset: Path) -> None:
    assert offered(f"wkflow downsample {dataset} --layer-name c") == ["color", "cells"]
    assert offered(f"wkflow plan {dataset} --layer-name ce") == ["cells"]
    assert offered(f"wkflow downsample {dataset / 'missing'} --layer-name c") == []
    assert offered("wkflow downsample --layer-name c") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_for_shells_are_printed(shell: str) -> None:
    done = program(BIN / "wkflow", "--show-completion", shell, environment=PRINTED)
    assert done.returncode == 0, done.stderr
    assert "_COMPLETE" in done.stdout


def test_completion_is_installed_for_a_user(tmp_path: Path) -> None:
    done = program(BIN / "wkflow", "--install-completion", "bash", environment={**PRINTED, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    (script,) = re.findall(r"source '(.*)'", (tmp_path / ".bashrc").read_text())
    assert "_WKFLOW_COMPLETE" in Path(script).read_text()


def test_a_bash_that_has_read_its_script_completes() -> None:
    script = program(BIN / "wkflow", "--show-completion", "bash", environment=PRINTED).stdout
    words = 'COMP_WORDS=(wkflow downsample --coa); COMP_CWORD=2; $(complete -p wkflow | grep -o "_[a-z_]*") wkflow'
    path = {"PATH": f"{BIN}:/usr/bin:/bin"}
    done = program("bash", "--norc", "-c", f'{script}\n{words}; echo "${{COMPREPLY[@]}}"', environment=path)
    assert (done.stdout, done.stderr) == ("--coarsest-mag\n", "")


def test_each_command_s_help_ends_with_examples() -> None:
    for command in ("downsample", "plan", "status", "info", "preview", "verify", "clean"):
        done = wkflow(command, "--help", environment={"COLUMNS": "150"})
        assert f"wkflow {command}" in done.stdout.partition("Examples")[2], command


def test_the_page_of_options_is_up_to_date() -> None:
    done = program(sys.executable, "-c", "from wkflow.cli.pages import page; print(page(), end='')", cwd=ROOT)
    assert done.stdout == (ROOT / "docs" / "options.md").read_text(), "run python -m wkflow.cli.pages"
