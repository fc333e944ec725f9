"""A quick look at one model that is already public: are its members recognisable?

    python -m experiments.quick_look --predictions=FOLDER --target=0 --workdir=DIR

FOLDER holds the predictions of the model and of at least one reference model, trained
without some of the patients, in a layout of docs/predictions.md. No model is trained;
it takes seconds. Single patients cannot be proven recognisable with one model: for that
audit with shadow models (experiments.audit).
"""

import pathlib
import textwrap

from absl import flags

from experiments import cli
from mia_jax import planner, validate
from mia_jax.stages import quick_look

flags.DEFINE_string("predictions", None, "folder of predictions")
flags.DEFINE_integer("target", 0, "the model asked about, by its number from 0")
flags.DEFINE_list("references", [], "models that help, e.g. 1,2; empty = all others")
flags.DEFINE_float("a", 0.3, "RMIA's coefficient, above 0 and at most 1")
flags.DEFINE_integer("seed", 0, "of the bootstrap")


def main(config, flags) -> None:
    """Writes DIR/quick_look.json and DIR/quick_look.pkl, prints what they say."""
    del config
    planner.configure_cpu()
    validate.require(
        bool(flags.predictions),
        "--predictions is missing",
        "a quick look reads the predictions of two models or more",
        "add --predictions=FOLDER",
    )
    content = quick_look.run(
        pathlib.Path(flags.predictions),
        pathlib.Path(flags.workdir),
        flags.target,
        _numbers(flags.references),
        flags.a,
        flags.seed,
    )
    print(_text(content))
    print(f"\n{pathlib.Path(flags.workdir) / 'quick_look.json'}")


def _numbers(texts: list[str]) -> list[int]:
    for text in texts:
        validate.require(
            text.strip().isdecimal(),
            f"--references={','.join(texts)}",
            "must be numbers of models, separated by commas",
            "write --references=1,2",
        )
    return [int(text) for text in texts]


def _text(content: dict) -> str:
    """The result in a few lines of at most 80 columns."""
    names = {"rmia": "RMIA, offline", "lira": "LiRA, difference"}
    lines = [
        f"quick look at model {content['target']}: {content['num_members']:,} members, "
        f"{content['num_non_members']:,} other patients"
    ]
    for attack in content["attacks"]:
        lines += ["", names[attack["name"]], f"  AUC {_interval(attack['auc'])}"]
        for fpr, found in attack["tpr_at_fpr"].items():
            said = _interval(found) if found else f"not told: {attack['refused'][fpr]}"
            lines.append(f"  TPR at FPR {float(fpr):.0%} {said}")
    return "\n".join([*lines, "", *textwrap.wrap(content["note"], 80)])


def _interval(found: dict[str, float]) -> str:
    return f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


if __name__ == "__main__":
    cli.config_flag(required=False, can_dry_run=False)
    cli.run(main)
