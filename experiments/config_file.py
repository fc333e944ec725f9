"""Loads the Python file that `--config` names."""

import difflib
import importlib.machinery
import importlib.util
import inspect
import pathlib
from collections.abc import Callable
from typing import Any

import ml_collections

from mia_jax import validate

CONFIGS = pathlib.Path(__file__).parent / "configs"


def load(path: str) -> ml_collections.ConfigDict:
    """The config that `get_config` of a file returns.

    Args:
      path: "file.py" or "file.py:argument"; the argument goes to `get_config`.
    """
    file, colon, argument = path.partition(":")
    get_config = _get_config(file)
    arguments = [argument] if colon else []
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError as error:
        raise validate.InputError(
            f"--config={path}: {error}",
            f"the part after ':' goes to get_config{inspect.signature(get_config)}",
            f"write --config={file}" + ("" if colon else ":ARGUMENT"),
        ) from None
    config = get_config(*arguments)
    validate.require(
        isinstance(config, ml_collections.ConfigDict),
        f"--config={path}: get_config() returns {type(config).__name__}",
        "it must return a ml_collections.ConfigDict",
        "end get_config() with `return config`",
    )
    return config


def missing() -> validate.InputError:
    """What to raise where `--config` is missing."""
    known = [f"--config={path}" for path in _known_files()]
    return validate.InputError(
        "--config is missing",
        "every run is described by a config file",
        f"add one of: {', '.join(known)}" if known else "add --config=FILE.py",
    )


def _known_files() -> list[str]:
    """The repository's config files, relative to the current folder if below it."""
    files = sorted(CONFIGS.glob("[!_]*.py"))
    here = pathlib.Path.cwd()
    return [
        str(file.relative_to(here) if file.is_relative_to(here) else file)
        for file in files
    ]


def _get_config(file: str) -> Callable[..., Any]:
    """The function `get_config` of a Python file."""
    if not pathlib.Path(file).is_file():
        by_stem = {pathlib.Path(path).stem: path for path in _known_files()}
        close = difflib.get_close_matches(pathlib.Path(file).stem, by_stem, n=1)
        raise validate.InputError(
            f"--config={file}: no such file",
            f"known: {', '.join(by_stem.values()) or 'none'}",
            f"did you mean --config={by_stem[close[0]]} ?"
            if close
            else "paths are relative to the current folder",
        )
    loader = importlib.machinery.SourceFileLoader("config_file", file)
    try:
        loader.get_code("config_file")  # what fails later is a bug, with its traceback
    except (SyntaxError, ValueError) as error:
        raise validate.InputError(
            f"--config={file} is not a Python file: {error}",
            "a config file is Python with a function get_config()",
            "correct the file, or start from a copy of one in experiments/configs",
        ) from None
    spec = importlib.util.spec_from_loader("config_file", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    validate.require(
        hasattr(module, "get_config"),
        f"--config={file} has no function get_config()",
        "a config file is Python with a function get_config()",
        "start from a copy of a file in experiments/configs",
    )
    return module.get_config
