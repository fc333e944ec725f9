"""Where a number comes from: versions, code and device; no user, host or path."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess

import jax

import mia_jax

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "scipy", "pandas")
_PACKAGE_FOLDER = pathlib.Path(mia_jax.__file__).parent
_SECONDS = 10  # for one call of git or sysctl


def collect() -> dict[str, str | dict[str, str | None]]:
    """What a result file says about its making.

    Returns:
      "versions": of mia_jax, its packages (None = not installed) and Python;
      "code": git commit of the package, with "-dirty" if its files differ from it, or
      the version where the package lies in no git checkout;
      "device": number, platform and kind, e.g. "2 cpu devices (AMD EPYC 7B13)".
    """
    versions = {"mia_jax": mia_jax.__version__}
    versions |= {name: _version(name) for name in _PACKAGES}
    versions["python"] = platform.python_version()
    return {"versions": versions, "code": code(), "device": device()}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def code(folder: pathlib.Path = _PACKAGE_FOLDER) -> str:
    """Commit of the checkout that tracks the package in `folder`, else its version."""
    # An installed package may lie in an ignored folder of somebody else's checkout.
    is_tracked = _git(folder, "ls-files", "--error-unmatch", "__init__.py") is not None
    commit = _git(folder, "rev-parse", "HEAD") if is_tracked else None
    if not commit:
        return mia_jax.__version__
    changes = _git(folder, "status", "--porcelain", "--", ".")
    return commit if changes == "" else f"{commit}-dirty"


def _git(folder: pathlib.Path, *arguments: str) -> str | None:
    """Output of git in `folder`; None if it fails or git is missing."""
    # In a hook git points these variables at another repository. No locks: read only.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    return _output(["git", "-C", str(folder), *arguments], environment)


def _output(command: list[str], environment: dict[str, str] | None = None):
    """Standard output of a command, stripped; None if it fails or is missing."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def device() -> str:
    """The devices of this process: "2 cpu devices (AMD EPYC 7B13)"."""
    devices = jax.devices()
    kind = devices[0].device_kind
    if devices[0].platform == "cpu":
        kind = _processor()
    plural = "" if len(devices) == 1 else "s"
    return f"{len(devices)} {devices[0].platform} device{plural} ({kind})"


def _processor() -> str:
    """Name of the CPU, or at least its instruction set."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    found = names[0] if names else _output(["sysctl", "-n", "machdep.cpu.brand_string"])
    return " ".join((found or platform.machine()).split())
