"""Published settings of attacks, by name, so that a published table can be repeated.

They are the authors' choices, also where ours differ and why is said in the attack's
own file; for an audit the plain attacks are the better ones.
"""

from typing import Any, NamedTuple

from mia_jax import config, validate


class Preset(NamedTuple):
    """An attack with the options of a publication.

    Attributes:
      attack: its name.
      options: those that are not the defaults.
      source: where they come from.
    """

    attack: str
    options: dict[str, Any]
    source: str


_LIRA = "Carlini et al. 2022, arXiv:2112.03570, and the authors' scoring code"
_RMIA = "Zarifzadeh et al. 2024, arXiv:2312.03262, and the authors' scoring code"
# Trimmed means, gamma 2, a vote over views; only the record itself is left out of its
# population. Confidence is the softmax at temperature 1; the authors' soft-margin
# confidence and temperature 2 of most image data sets need logits (docs/presets.md).
_RMIA_OPTIONS = {
    "center": "trimmed_even",
    "gamma": 2.0,
    "exclude": "record",
    "channels": "vote",
}

PRESETS = {
    "lira-2022-online": Preset("lira_2022", {"mode": "online"}, _LIRA),
    "lira-2022-online-fixed": Preset(
        "lira_2022", {"mode": "online", "variance": "fixed"}, _LIRA
    ),
    "lira-2022-offline": Preset("lira_2022", {"mode": "offline"}, _LIRA),
    "lira-2022-offline-fixed": Preset(
        "lira_2022", {"mode": "offline", "variance": "fixed"}, _LIRA
    ),
    "rmia-2024-online": Preset("rmia", _RMIA_OPTIONS, _RMIA),
    "rmia-2024-offline": Preset(
        "rmia", {**_RMIA_OPTIONS, "mode": "offline", "a": 0.3}, _RMIA
    ),
}


def plugin(name: str) -> config.Plugin:
    """The attack of a preset with all its options.

    Raises:
      InputError: for an unknown name; lists the known ones.
    """
    validate.one_of("preset", name, PRESETS)
    preset = PRESETS[name]
    return config.plugin("attacks", preset.attack, **preset.options)
