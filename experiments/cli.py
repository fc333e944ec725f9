"""The edge of every binary: flags, `--help_config`, errors in three lines, exit codes.

    if __name__ == "__main__":
        cli.config_flag()
        cli.run(main)

Exit codes: 0 done; 1 a bug, with its traceback; 2 wrong input, with three lines; 3 a
limit of the user's was exceeded (`main` returns it); 130 interrupted.
"""

import difflib
import functools
import logging
import shutil
import sys
import textwrap
from collections.abc import Callable
from typing import Any, NoReturn

import ml_collections
from absl import app, flags
from ml_collections import config_flags

from experiments import config_file, overrides, values
from mia_jax import config as settings
from mia_jax import validate

FLAGS = flags.FLAGS
USER_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count
_HELP = {"?", "help", "helpshort", "helpfull", "helpxml"}

# Libraries whose notes at level "info" say nothing to a researcher.
_QUIET = ("fontTools", "jax._src.xla_bridge", "matplotlib")

Main = Callable[[ml_collections.ConfigDict | None, flags.FlagValues], int | None]

flags.disclaim_key_flags()  # --help shows the flags as the binary's own


def config_flag(
    required: bool = True, workdir_required: bool = True, can_dry_run: bool = True
) -> None:
    """Defines --config, --workdir, --dry_run and --help_config; once is enough.

    Args:
      required: whether a run needs --config.
      workdir_required: whether a run needs --workdir.
      can_dry_run: whether there is a plan to print and stop after.
    """
    if "help_config" in FLAGS:
        return
    try:
        config_flags.DEFINE_config_file("config", None, "FILE.py or FILE.py:ARGUMENT")
    except flags.CantOpenFlagFileError as error:  # read already at the definition
        _exit_with(_wrong_flag(error))
    flags.DEFINE_string("workdir", None, "folder of the run; created if absent")
    if can_dry_run:
        flags.DEFINE_bool("dry_run", False, "print the plan and stop")
    flags.DEFINE_bool("help_config", False, "print every field of the config and stop")
    # Checked when all flags are parsed; --help_config prints without a workdir.
    flags.register_multi_flags_validator(
        ["config", "workdir", "help_config"],
        functools.partial(_check_given, required, workdir_required),
    )


def run(main: Main) -> NoReturn:
    """Runs a binary: parses the flags, calls `main(config, flags)`, exits.

    Args:
      main: gets the config with its overrides (None without --config) and the absl
        flags; returns the exit code, None = 0.
    """
    try:
        app.run(functools.partial(_main, main), flags_parser=_parse_flags)
    except validate.InputError as error:
        _exit_with(error)
    except KeyboardInterrupt:
        print(
            "interrupted: finished groups are kept, the same command continues",
            file=sys.stderr,
        )
        sys.exit(INTERRUPTED)


def _exit_with(error: validate.InputError) -> NoReturn:
    """Exactly three lines on stderr, whatever the message holds."""
    lines = (error.what, error.rule, error.remedy)
    print(*(" ".join(line.split("\n")) for line in lines), sep="\n", file=sys.stderr)
    sys.exit(USER_ERROR)


def _main(main: Main, arguments: list[str]) -> int | None:
    del arguments  # none are left: `_parse_flags`
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    if FLAGS.help_config:
        print(_config_help(FLAGS.config), end="")
        return 0
    return main(FLAGS.config, FLAGS)


def _check_given(required: bool, workdir_required: bool, given: dict[str, Any]) -> bool:
    """Raises unless the flags that a run cannot do without are there."""
    if given["config"] is None and (required or given["help_config"]):
        raise config_file.missing()
    if workdir_required and not given["workdir"] and not given["help_config"]:
        raise validate.InputError(
            "--workdir is missing",
            "a run keeps all its files in one folder, which is created if absent",
            "add --workdir=runs/NAME",
        )
    return True


def _parse_flags(argv: list[str]) -> list[str]:
    """Parses the command line; all that is wrong with it becomes an `InputError`."""
    for argument in argv[1:]:
        if argument.startswith("-") and argument.lstrip("-") in _HELP:
            _show_help(argument)
    config = None
    try:
        given = FLAGS.read_flags_from_files(argv[1:], force_gnu=False)
        config = overrides.check(given) if "config" in FLAGS else None
        rest = FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        raise _unknown_flag(error.flagname, config) from None
    except flags.Error as error:
        raise _wrong_flag(error) from None
    for argument in rest[1:]:
        raise _stray(argument)
    return rest


def _show_help(flag: str) -> NoReturn:
    """absl's help, with exit code 0: whoever asks for help made no mistake."""
    try:
        FLAGS([sys.argv[0], flag])
    except SystemExit:
        print("\nFields of the config: --config=FILE.py --help_config")
    sys.exit(0)


def _unknown_flag(
    name: str, config: ml_collections.ConfigDict | None
) -> validate.InputError:
    known = _flag_names()
    fields = overrides.fields(config) if config is not None else []
    meant = next((f"config.{f}" for f in fields if f.split(".")[-1] == name), None)
    if meant is None:
        close = difflib.get_close_matches(name, known, n=1)
        field = overrides.closest(name, fields)
        meant = close[0] if close else field and f"config.{field}"
    return validate.InputError(
        f"--{name}: there is no such flag",
        f"did you mean --{meant} ?" if meant else f"see {_program()} --help",
        f"known: {', '.join(f'--{flag}' for flag in known)}",
    )


def _wrong_flag(error: flags.Error) -> validate.InputError:
    rule = "a flag has a wrong value, or none"
    return validate.InputError(str(error), rule, f"see {_program()} --help")


def _stray(argument: str) -> validate.InputError:
    """For "--config.keep false" or "num_models=3": absl would pass over it."""
    return validate.InputError(
        f"{argument!r} belongs to no flag",
        "everything on the command line is a flag: --NAME=VALUE",
        f"write its flag and value with '=', or see {_program()} --help",
    )


def _flag_names() -> list[str]:
    """The flags of the binary itself, without those of absl and other libraries."""
    own = FLAGS.get_key_flags_for_module(sys.argv[0])
    names = {flag.name for flag in own} | {"config", "workdir"} & set(FLAGS)
    return sorted(name for name in names if not name.startswith("config."))


def _program() -> str:
    """How the binary was started: "python -m experiments.audit"."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return f"python -m {spec.name}" if spec else f"python {sys.argv[0]}"


def _config_help(config: ml_collections.ConfigDict) -> str:
    """Every field, its value and its comment; one line each where it is piped."""
    rows = [
        (name, values.as_typed(value), comment)
        for name, value, comment in settings.describe(config)
    ]
    name_width, value_width = (max(len(row[i]) for row in rows) + 2 for i in (0, 1))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    lines = ["Change a field by --config.NAME=VALUE, after --config=FILE.py", ""]
    for name, value, comment in rows:
        head = f"{name:<{name_width}}{value:<{value_width}}"
        text_width = max(width - len(head), 24)
        first, *more = textwrap.wrap(comment, text_width) or [""]
        lines.append(f"{head}{first}".rstrip())
        lines += [" " * len(head) + line for line in more]
    return "\n".join(lines) + "\n"
