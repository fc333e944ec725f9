"""The stages that both audits share."""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from mia_jax import config, validate
from mia_jax.notebook import result
from mia_jax.stages import attack


def plugins(
    kind: str, given: Iterable[str | Mapping[str, Any]]
) -> tuple[config.Plugin, ...]:
    """Plug-ins from names, or {"name": ..., option: value}."""
    one = isinstance(given, str | Mapping)
    chosen = tuple(plugin(kind, item) for item in ([given] if one else given))
    validate.require(
        bool(chosen), f"no {kind}", "at least one is needed", f"name one of the {kind}"
    )
    return chosen


def plugin(kind: str, given: str | Mapping[str, Any]) -> config.Plugin:
    """A plug-in from its name, or {"name": ..., option: value}."""
    options = {"name": given} if isinstance(given, str) else dict(given)
    validate.require(
        "name" in options,
        f"{kind}: {options}",
        "a plug-in with options is named by the key name",
        'write e.g. {"name": "lira", "mode": "offline"}',
    )
    return config.plugin(kind, options.pop("name"), **options)


def risk(fdr: float, options: Mapping[str, Any]) -> config.RiskSettings:
    """Settings of the risk stage; an unknown name raises."""
    known = set(config.RiskSettings.__dataclass_fields__) - {"fdr"}
    for name in options:
        validate.one_of("argument", name, known)
    return config.RiskSettings(fdr=fdr, **options)


def attacked(
    folder: pathlib.Path,
    attacks: tuple[config.Plugin, ...],
    settings: config.RiskSettings,
    seed: int,
    is_temporary: bool,
) -> result.Result:
    """Attacks `folder/predictions` and reads the result."""
    attack.run(folder / "predictions", folder, attacks, settings, seed)
    return result.Result(folder, is_temporary)
