"""Provenance: versions, code and device, and nothing about user, host or folders."""

import getpass
import json
import os
import pathlib
import shutil
import socket
import subprocess

import jax
import numpy as np
import pytest

import mia_jax
from mia_jax import provenance


def test_versions_are_those_in_use():
    versions = provenance.collect()["versions"]
    assert versions["jax"] == jax.__version__
    assert versions["numpy"] == np.__version__
    assert versions["mia_jax"] == mia_jax.__version__
    assert set(versions) == {
        *("mia_jax", "jax", "jaxlib", "flax", "optax"),
        *("numpy", "scipy", "pandas", "python"),
    }


def test_a_missing_package_has_no_version():
    assert provenance._version("surely_not_installed_anywhere") is None


def test_the_device_is_counted_and_named():
    assert provenance.device().startswith("4 cpu devices (")  # conftest makes four
    assert not provenance.device().endswith("()")


def test_nothing_tells_user_host_or_folder():
    facts = provenance.collect()
    text = json.dumps(facts).lower()
    for name in (socket.gethostname(), str(pathlib.Path.home())):
        assert name.lower() not in text
    assert getpass.getuser() not in text.replace("'", " ").split()
    assert str(pathlib.Path(mia_jax.__file__).parent) not in text


@pytest.fixture
def checkout(tmp_path):
    """A git checkout with one package; the global configuration plays no part."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    package = tmp_path / "repository" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package.parent / ".gitignore").write_text("ignored/\n")
    _git(package.parent, "init", "-q")
    _git(package.parent, "add", ".")
    _git(package.parent, "commit", "-q", "-m", "first")
    return package


def _git(folder, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    names = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    hooks = ["-c", "core.hooksPath=/dev/null"]
    command = ["git", "-C", str(folder), *names, *hooks, *arguments]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_code_is_the_commit_and_says_dirty(checkout, monkeypatch):
    commit = _git(checkout, "rev-parse", "HEAD")
    assert provenance.code(checkout) == commit
    (checkout.parent / "notes.txt").write_text("beside the package: no matter")
    assert provenance.code(checkout) == commit
    monkeypatch.setenv("GIT_DIR", "/nowhere")  # as in a hook
    assert provenance.code(checkout) == commit
    (checkout / "plugin.py").write_text("an untracked plug-in changes results")
    assert provenance.code(checkout) == f"{commit}-dirty"


def test_a_package_installed_inside_another_checkout_is_not_that_commit(checkout):
    installed = checkout.parent / "ignored" / "package"
    shutil.copytree(checkout, installed)
    assert provenance.code(installed) == mia_jax.__version__


def test_without_a_checkout_code_is_the_version(tmp_path):
    assert provenance.code(tmp_path) == mia_jax.__version__
