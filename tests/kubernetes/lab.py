"""A lab with a cluster: the stand-in, with the container image, and a volume that is mounted here, too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clusters import environment, started
from workflow.commands import ROOT

KUBERNETES = ("--distribution-strategy", "kubernetes")


@dataclass(frozen=True)
class Lab:
    """``volume``: what the claim ``datasets`` is, here and in pods."""

    cluster: Any
    volume: Path
    image: str = "lab/wkflow:1"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "KUBECONFIG": str(self.cluster.kubeconfig),
            "WKFLOW_KUBERNETES": f'{{"image": "{self.image}", "volumes": "datasets:{self.volume}"}}',
        }

    @property
    def profile(self) -> list[str]:
        """Options of plain Snakemake."""
        return [
            *("--profile", str(ROOT / "profiles/kubernetes"), "--container-image", self.image),
            *("--wkflow-kubernetes-persistent-volumes", f"datasets:{self.volume}"),
        ]

    def started(
        self, dataset: object, *options: object, more: Mapping[str, str] | None = None
    ) -> AbstractContextManager[subprocess.Popen[str]]:
        """The command, under way."""
        return started(self, dataset, *KUBERNETES, *options, more=more)

    @contextmanager
    def snakemake(
        self, cwd: Path, *options: str, snakefile: Path = ROOT / "Snakefile"
    ) -> Iterator[subprocess.Popen[str]]:
        """Plain Snakemake with the profile, under way in a folder on the volume."""
        line = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile), *self.profile, *options]
        pipe = subprocess.PIPE
        with subprocess.Popen(line, cwd=cwd, env=environment(self), stdout=pipe, stderr=pipe, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def left(self) -> list[str]:
        """What there is in the namespace."""
        found = [*self.cluster.jobs(), *self.cluster.pods(), *self.cluster.secrets()]
        return [f"{one['kind']} {one['metadata']['name']}" for one in found]
