"""Run the tests that compute under several arithmetics of one processor: `make portable`.

numpy, OpenBLAS, torch, oneDNN and MKL choose their kernels by the processor that they meet, and
with another kernel, or another number of threads, a sum has other last bits. A test that asserts
on those holds on the machine that it was written on. Each setting here takes the kernels of
another machine; what fails under one of them, and under no other, asserts on rounding.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]

# What is left out computes nothing: pages, files, and commands whose jobs are tested here.
_COMPUTE = (
    "bench", "classify", "contract", "curate", "focus", "models", "observe", "property", "select",
    "stats", "world", "integration/test_focus_planted.py", "integration/test_observe_planted.py",
    "test_embeddings.py", "test_raster.py", "test_seeds.py",
)  # fmt: skip
_THREADS = "OMP_NUM_THREADS"
# What a machine may have set already. OPENBLAS_CORETYPE stays where no setting has its own: some
# processors need it for an older OpenBLAS.
_CLEARED = (
    "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS", _THREADS,
    "NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES",
)  # fmt: skip


def _numpy_dispatch() -> str:
    """Return what numpy finds on this processor beyond what it was built for."""
    from numpy._core import _multiarray_umath as core

    return " ".join(name for name in core.__cpu_dispatch__ if core.__cpu_features__[name])


def _older_core() -> str:
    """Return the kernels of an older processor that OpenBLAS can be asked for.

    Those of Haswell, unless they fail: on some processors the OpenBLAS of numpy 2.5 ends in a
    segmentation fault in any product of 400 x 400 float64 numbers when it is asked for them.
    """
    product = "import numpy as np; x = np.ones((400, 400)); x @ x"
    for name in ("Haswell", "Sandybridge"):
        there = {**os.environ, "OPENBLAS_CORETYPE": name}
        if subprocess.run([sys.executable, "-c", product], env=there, check=False).returncode == 0:
            return name
        print(f"OpenBLAS cannot multiply with OPENBLAS_CORETYPE={name} here")
    return ""


def settings() -> dict[str, dict[str, str]]:
    """Return the variables of each setting.

    "native" is the machine as it is, with a thread for each core; all others compute with one
    thread, as `make test` does, and "one-thread" is that alone.
    """
    one = {_THREADS: "1"}
    found = {
        "native": {_THREADS: str(os.cpu_count())},
        "one-thread": one,
        "aten-default": {**one, "ATEN_CPU_CAPABILITY": "default"},
        "avx2": {
            **one,
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        },
        "numpy-baseline": {**one, "NPY_DISABLE_CPU_FEATURES": _numpy_dispatch()},
        "openblas-older": {**one, "OPENBLAS_CORETYPE": _older_core()},
    }
    return {name: {k: v for k, v in given.items() if v} for name, given in found.items()}


def main(arguments: list[str]) -> int:
    """Run one setting after the other; say what each came to.

    Args:
        arguments: Names of settings (all if there is none); what begins with "-" or names a test
            goes to pytest.
    """
    known = settings()
    chosen = [name for name in arguments if name in known] or list(known)
    rest = [given for given in arguments if given not in known]
    tests = [] if any(not given.startswith("-") for given in rest) else _paths()
    # Threads are counted for all: with more workers than cores over them they would only wait.
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "-p",
               "no:cacheprovider"]  # fmt: skip
    failed: list[str] = []
    started = time.monotonic()
    for name in chosen:
        print(f"== {name}: {_written(known[name])}", flush=True)
        kept = {k: v for k, v in os.environ.items() if k not in _CLEARED}
        begun = time.monotonic()
        done = subprocess.run(
            [*command, *rest, *tests],
            cwd=_ROOT,
            env={**kept, "OMP_WAIT_POLICY": "passive", **known[name]},
            check=False,
        )
        print(f"== {name}: {'FAILED' if done.returncode else 'passed'}, "
              f"{time.monotonic() - begun:.0f} s", flush=True)  # fmt: skip
        if done.returncode:
            failed.append(name)
    print(f"{len(chosen) - len(failed)} of {len(chosen)} settings passed in "
          f"{(time.monotonic() - started) / 60:.1f} min")  # fmt: skip
    if failed:
        print(f"Failed: {', '.join(failed)}. One alone: python tests/portable.py {failed[0]}")
    return 1 if failed else 0


def _paths() -> list[str]:
    marks = ["-m", "not browser and not slow and not realdata and not ray"]
    return [*marks, *(str(_ROOT / "tests" / part) for part in _COMPUTE)]


def _written(variables: dict[str, str]) -> str:
    return " ".join(f"{name}={value!r}" for name, value in variables.items())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
