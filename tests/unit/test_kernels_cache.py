"""The machine code of ``wkflow.kernels`` is made once, kept where nobody else can write, and never mixed up."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from wkflow.kernels import STEP_FACTORS, Kernel, downsample, precompile


def run_python(code: str, **environment: str) -> str:
    env = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")} | environment
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


COMPILE = """
import numpy as np
from wkflow.kernels import Kernel, _compiled, downsample, precompile
precompile([{dtypes}], [Kernel.MODE], [(2, 2, 1)])
assert downsample(np.full((1, 2, 2), 300, "uint16"), (2, 2, 1), Kernel.MODE).item() == 300
assert downsample(np.full((1, 2, 2), 200, "uint8"), (2, 2, 1), Kernel.MODE).item() == 200
print(sum(sum(f.stats.cache_hits.values()) for f in _compiled._ready.values()))
"""


def test_config_does_not_pay_for_numba() -> None:
    assert run_python("import sys, wkflow.kernels; print('numba' in sys.modules)").strip() == "False"


def test_cache_is_shared_by_processes(tmp_path: Path) -> None:
    """Two processes fill it at the same time, a third one reads it, a fourth one does without what is damaged."""
    with ThreadPoolExecutor(2) as threads:
        orders = [COMPILE.format(dtypes="'u1', 'u2'"), COMPILE.format(dtypes="'u2', 'u1'")]
        list(threads.map(lambda code: run_python(code, XDG_CACHE_HOME=str(tmp_path)), orders))
    data = list(tmp_path.rglob("*.nbc"))
    assert len(data) == 2, "an index that two entries share may lead one dtype to the code of another"
    assert run_python(orders[0], XDG_CACHE_HOME=str(tmp_path)).strip() == "2"
    for path in data:
        path.write_bytes(b"")
    assert "compiled anew" in run_python(orders[0], XDG_CACHE_HOME=str(tmp_path))


def test_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wkflow.kernels import _cache

    monkeypatch.setattr(_cache._config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(_cache.tempfile, "tempdir", str(tmp_path))
    choose = _cache.cache_directory.__wrapped__
    chosen = choose()
    assert chosen.parent == tmp_path / "xdg" / "wkflow" / "numba"
    assert chosen.stat().st_mode & 0o777 == 0o700

    chosen.chmod(0o777)  # others could put their pickles here
    fallback = choose()
    assert fallback.parent == tmp_path
    assert fallback.stat().st_mode & 0o777 == 0o700

    fallback.rmdir()
    fallback.symlink_to(tmp_path / "xdg", target_is_directory=True)
    assert choose() is None
    fallback.unlink()
    fallback.write_text("a file")
    assert choose() is None

    monkeypatch.setattr(_cache._config, "CACHE_DIR", str(tmp_path / "mine"))
    assert choose().parent == tmp_path / "mine"


def test_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    from wkflow.kernels import _cache, _compiled

    monkeypatch.setattr(_cache, "cache_directory", lambda: None)
    monkeypatch.setattr(_compiled, "_ready", {})
    source = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    assert downsample(source, (2, 2, 2), Kernel.MEDIAN).item() == 3


def test_precompile_is_complete() -> None:
    from wkflow.kernels import _compiled

    precompile([np.uint8, "bool"], [Kernel.MEDIAN, Kernel.MODE])
    before = set(_compiled._ready)
    for factor in STEP_FACTORS:
        for kernel in (Kernel.MEDIAN, Kernel.MODE):
            downsample(np.zeros((4, 4, 4), np.uint8), factor, kernel)
            downsample(np.zeros((4, 4, 4), bool), factor, kernel)
    assert set(_compiled._ready) == before
