# Check the mags of a dataset part by part: what `wkflow verify` runs, in a folder that it removes in the end.
import sys
from pathlib import Path

HOME = Path(workflow.current_basedir.get_path_or_uri(secret_free=False)).parent
if (HOME / "wkflow").is_dir():  # a clone; otherwise wkflow is installed
    sys.path.insert(0, str(HOME))

from wkflow.verification.checks import Checks

CHECKS = Checks.load(Path("checks.json"))


rule all:
    input:
        [f"markers/{job}.json" for job in CHECKS.job_ids],
    localrule: True


# One job per part of a mag, or for several small ones. It reads the dataset and writes what it has found.
rule verify:
    input:
        ancient("checks.json"),
    output:
        "markers/{job}.json",
    log:
        "logs/{job}.log",
    conda:
        "../envs/wkflow.yaml"
    threads: CHECKS.threads
    resources:
        mem_mb=CHECKS.memory_mb,
    params:
        python=sys.executable,
        scripts=str(HOME / "scripts"),
    shell:
        "{params.python:q} {params.scripts:q}/verify.py --run-dir . --job {wildcards.job} --threads {threads} > {log:q} 2>&1"
