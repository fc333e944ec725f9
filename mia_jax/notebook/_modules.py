"""Anybody's network as a `contracts.Model`, and what identifies it.

A run continues only with the network it was started with. A name or a source text
does not tell that: a closure, a global, a helper in another file would change unseen.
The identity is a hash of the programs themselves, lowered by JAX: of the initial
weights, of the prediction and of the gradient, with all constants in them.
"""

import functools
import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx

from mia_jax import contracts, rng, validate

# Arguments that switch training on, and one that switches it off.
_SWITCHES = {"is_training": True, "training": True, "train": True}
_SWITCHES["deterministic"] = False
_DIGITS = 16  # of the hash: 64 bits


def pure(model: Any) -> tuple[str, contracts.Model]:
    """(short name, pure functions) of a network.

    Args:
      model: a `contracts.Model`; a Flax Linen module; or a function of `nnx.Rngs` that
        makes a Flax NNX module (its class, if that needs nothing else).

    Raises:
      InputError: anything else, or an NNX module that has its weights already.
    """
    if isinstance(model, contracts.Model):
        return "own model", model
    if isinstance(model, linen.Module):
        return type(model).__name__, _linen(model)
    is_class = inspect.isclass(model)
    function = model.func if isinstance(model, functools.partial) else model
    name = getattr(function, "__name__", type(model).__name__)
    validate.require(
        not (is_class and issubclass(model, linen.Module)),
        f"model is the class {name}",
        "a Linen module is given as an object, with its settings",
        f"give {name}(...)",
    )
    validate.require(
        not isinstance(model, nnx.Module),
        f"model is a {type(model).__name__} with its weights",
        "every shadow model starts from weights of its own",
        f"give a function: lambda rngs: {type(model).__name__}(..., rngs=rngs)",
    )
    validate.require(
        callable(model),
        f"model is a {type(model).__name__}",
        "must be a model's name, a Linen module, a function of nnx.Rngs, or a pair "
        "contracts.Model(init, apply)",
        "see mia_jax.audit",
    )
    return name.strip("<>"), _nnx(model)


def identity(model: contracts.Model, name: str, shape: tuple, num_outputs: int) -> str:
    """Hash of the programs of a model, after a check of its outputs.

    Args:
      model: the network.
      name: for messages.
      shape: of one record.
      num_outputs: that the data need.

    Returns:
      16 hexadecimal digits; another version of JAX may give others.

    Raises:
      InputError: if the outputs are not [batch, num_outputs] float32.
    """
    key = rng.root(0)
    one, some = (jax.ShapeDtypeStruct((n, *shape), np.float32) for n in (1, 2))
    params = jax.eval_shape(model.init, key, one)
    for keys in ((), (key,)):
        out = jax.eval_shape(model.apply, params, some, *keys)
        found = f"{getattr(out, 'dtype', '?')} {list(getattr(out, 'shape', []))}"
        validate.require(
            found == f"float32 [2, {num_outputs}]",
            f"{name} gives {found} for 2 records of shape {list(shape)}",
            f"must be float32 [2, {num_outputs}]: logits, one for a binary label, else "
            "one per class",
            "change its last layer, without softmax or sigmoid",
        )

    def gradient(params, inputs, key):
        # A weight per output: a plain sum has no gradient through a softmax.
        out = model.apply(params, inputs, key)
        return (out * jnp.arange(1.0, 1.0 + out.size).reshape(out.shape)).sum()

    digest = hashlib.sha256()
    for function, arguments in (
        (model.init, (key, one)),
        (lambda *pair: model.apply(*pair), (params, some)),
        (jax.value_and_grad(gradient), (params, some, key)),
    ):
        digest.update(jax.jit(function).lower(*arguments).as_text().encode())
    return digest.hexdigest()[:_DIGITS]


def _linen(module: linen.Module) -> contracts.Model:
    """As pure functions: training mode with a key, evaluation without."""
    switch = _switch(type(module).__call__, type(module).__name__)

    def call(function: Callable, is_training: bool, **options) -> Any:
        if switch:
            options[switch] = _SWITCHES[switch] == is_training
        return function(**options)

    def init(key, inputs):
        found = call(functools.partial(module.init, key, inputs), False)
        _no_state(type(module).__name__, sorted(set(found) - {"params"}))
        return found.get("params", {})

    def apply(params, inputs, key=None):
        function = functools.partial(module.apply, {"params": params}, inputs)
        rngs = {} if key is None else {"dropout": key}
        return call(function, key is not None, rngs=rngs).astype(jnp.float32)

    return contracts.Model(init, apply)


def _switch(function: Callable, name: str) -> str | None:
    """The argument that says training or evaluation; None = there is none."""
    _, _, *others = inspect.signature(function).parameters.values()
    for parameter in others:
        if parameter.name in _SWITCHES:
            return parameter.name
        validate.require(
            parameter.default is not parameter.empty
            or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL),
            f"{name}.__call__ needs {parameter.name!r}",
            f"beside inputs only one of {', '.join(_SWITCHES)} is known",
            "give it a default, or give a pair contracts.Model(init, apply)",
        )
    return None


def _nnx(make: Callable[[nnx.Rngs], nnx.Module]) -> contracts.Model:
    """As pure functions: the module is made anew in each, its weights put in.

    What making it computes beside them is never used, so the compiler drops it.
    """

    def init(key, inputs):
        del inputs
        module = make(nnx.Rngs(key))
        state = nnx.state(module)
        others = nnx.filter_state(state, nnx.Not(nnx.Any(nnx.Param, nnx.RngState)))
        kinds = {type(leaf).__name__ for _, leaf in nnx.to_flat_state(others)}
        _no_state(type(module).__name__, sorted(kinds))
        return nnx.to_pure_dict(nnx.filter_state(state, nnx.Param))

    def apply(params, inputs, key=None):
        module = make(nnx.Rngs(rng.root(0) if key is None else key))
        state = nnx.state(module, nnx.Param)
        nnx.replace_by_pure_dict(state, params)
        nnx.update(module, state)
        module.eval() if key is None else module.train()
        return module(inputs).astype(jnp.float32)

    return contracts.Model(init, apply)


def _no_state(name: str, kinds: list[str]) -> None:
    validate.require(
        not kinds,
        f"{name} keeps {validate.listing(kinds)}",
        "weights are all that a model keeps: batch statistics leak between records",
        "use LayerNorm or GroupNorm in place of BatchNorm",
    )
