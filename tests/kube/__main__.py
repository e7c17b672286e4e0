"""A cluster to try things with by hand: ``PYTHONPATH=tests python -m kube --folder F --image ROOT --claim NAME:PATH``, as root."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

from kube.cluster import Cluster


def main() -> None:
    parser = argparse.ArgumentParser(prog="kube", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="for the kubeconfig and the pods' logs")
    parser.add_argument("--image", type=Path, required=True, help="root folder of the image lab/wkflow:1")
    parser.add_argument("--claim", action="append", default=[], metavar="NAME:PATH", help="a persistent volume claim")
    parser.add_argument("--namespace", default="lab")
    asked = parser.parse_args()
    claims = {name: Path(path).resolve() for name, _, path in (claim.partition(":") for claim in asked.claim)}
    stop = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    with Cluster(asked.folder.resolve(), asked.image.resolve(), claims, namespace=asked.namespace) as cluster:
        print(cluster.kubeconfig, flush=True)
        signal.sigwait(stop)


if __name__ == "__main__":
    main()
