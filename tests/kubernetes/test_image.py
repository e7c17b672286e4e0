"""The container image has what pods need, and only that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml
from clusters import COLOR, check_same, three_layers
from kube.container import Container, Wanted
from kube.nodes import Image
from lab import Lab
from workflow.commands import ROOT

from wkflow.kubernetes.image import versions


def run(image: Path, place: Path, *command: str) -> tuple[int, str]:
    """A command in a container of the image, as its user, with its environment."""
    (user, group), environment = Image(image).user, Image(image).environment
    wanted = Wanted(image, "pod", command, "/workdir", environment, (), ("/workdir",), user, group)
    container = Container(place, wanted)
    container._process.wait(120)
    return container.exit_code or 0, container.log.read_text()


def test_it_has_the_versions_of_this_checkout(image: Path, tmp_path: Path) -> None:
    script = "from wkflow.kubernetes.image import versions; print(versions())"
    assert run(image, tmp_path / "c", "python", "-c", script) == (0, f"{versions()}\n")


def test_every_module_of_wkflow_can_be_imported(image: Path, tmp_path: Path) -> None:
    script = (
        "import importlib, pkgutil, wkflow\n"
        "names = [one.name for one in pkgutil.walk_packages(wkflow.__path__, 'wkflow.') if not one.name.endswith('__main__')]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(len(names) > 100)"
    )
    assert run(image, tmp_path / "c", "python", "-c", script) == (0, "True\n")


def test_nothing_of_it_can_be_changed_by_its_user_and_nothing_can_be_installed(image: Path, tmp_path: Path) -> None:
    script = "touch /opt/wkflow/x; find /opt/wkflow -not -user root -o -perm /022 -not -type l | head -3; python -m pip"
    code, said = run(image, tmp_path / "c", "/bin/sh", "-c", script)
    assert code != 0
    assert "/opt/wkflow/x': Permission denied" in said
    assert "No module named pip" in said
    assert len(said.splitlines()) == 2


def test_what_the_containerfile_copies_is_not_left_out_by_dockerignore() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    needed = {
        line.split()[1]
        for line in (ROOT / "envs/Containerfile").read_text().splitlines()
        if line.startswith("COPY envs")
    }
    assert needed | {"pyproject.toml", "requirements.lock", "wkflow", "Snakefile", "README.md", "LICENSE"} <= kept


def test_the_command_itself_runs_in_a_pod_with_the_manifest_and_the_rights_of_its_account(lab: Lab) -> None:
    """As a mere user, whom the datasets belong to."""
    dataset = three_layers(lab.volume / "my-dataset")
    for path in [lab.volume, *lab.volume.rglob("*")]:
        shutil.chown(path, 1000, 1000)
    lab.volume.parent.chmod(0o755)
    text = (ROOT / "envs/kubernetes/submit.yaml").read_text()
    text = text.replace("registry.example/wkflow:1.0", lab.image).replace("/data", str(lab.volume))
    job = yaml.safe_load(text)
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["command"][2:2] = COLOR
    container["env"].append({"name": "WK_DEFAULT_CHUNKS_PER_SHARD", "value": "2,2,2"})
    lab.cluster.submit(job)
    finished = lab.cluster.wait_for(lambda: [one for one in lab.cluster.jobs() if _is_over(one)])[0]
    (pod,) = [one for one in lab.cluster.pods() if one["metadata"]["labels"]["job-name"] == "wkflow-submit"]
    said = lab.cluster.kubelet.containers[pod["metadata"]["name"]].log.read_text()
    assert finished["status"].get("succeeded") == 1, said
    check_same(dataset, *COLOR)
    (inner,) = [one for one in lab.cluster.history() if one["metadata"]["name"] != "wkflow-submit"]
    assert inner["spec"]["template"]["spec"]["securityContext"] == {"runAsUser": 1000, "runAsGroup": 1000}
    assert {path.stat().st_uid for path in dataset.rglob("*")} == {1000}


def _is_over(job: dict[str, Any]) -> bool:
    return job["metadata"]["name"] == "wkflow-submit" and bool(job["status"].get("conditions"))
