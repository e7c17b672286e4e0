#!/bin/sh
# Installs wkflow into a slim Debian with Python, in two steps, as envs/Containerfile does:
#
#   image.sh libraries FOLDER   what wkflow needs, in the versions of requirements.lock; FOLDER has that file and pyproject.toml
#   image.sh wkflow SOURCE      wkflow itself, from a folder or a wheel, and a check that all of it is there
#
# Everything comes to lie in /opt/wkflow. Pods install nothing any more.
set -eu
export PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
bin=/opt/wkflow/bin

libraries() {
    python3 -m venv /opt/wkflow
    "$bin/python" - "$1/pyproject.toml" >/tmp/libraries.txt <<'END'
import sys, tomllib
print("\n".join(tomllib.load(open(sys.argv[1], "rb"))["project"]["dependencies"]))
END
    "$bin/python" -m pip install --quiet --no-compile --requirement /tmp/libraries.txt --constraint "$1/requirements.lock"
    rm /tmp/libraries.txt
    "$bin/python" -m pip uninstall --quiet --yes setuptools
    rm -r /opt/wkflow/lib/python3*/site-packages/pandas/tests /opt/wkflow/lib/python3*/site-packages/numba/tests
    # Pods may not write here. Some files of libraries are templates and no Python, which is no failure.
    "$bin/python" -m compileall -q -j 0 /opt/wkflow/lib >/dev/null || true
}

wkflow() {
    "$bin/python" -m pip install --quiet --no-deps "$1"
    "$bin/python" -m pip uninstall --quiet --yes pip
    rm -f "$bin"/activate* "$bin"/Activate*
    cd /
    "$bin/wkflow" --version
    "$bin/python" -c 'import wkflow.job, wkflow.cli.pod, snakemake.cli, tensorstore, numba'
}

"$1" "$2"
