"""Per-patient gradient norms from one backward pass through a Flax (Linen) model.

A tap is an identity on a layer's output. Its "gradient" with respect to a probe of
zeros, [patients] and shared by all taps, is defined as what the layer adds to every
patient's squared gradient norm. The taps are put in by `nn.intercept_methods`: no model
is changed, and the parameters' own gradients stay ordinary automatic differentiation.

A parameter outside the taps would be missing from the norm, and the guarantee void. So
`coverage` traces the losses once, without computing, with every tapped layer's output
replaced by something that does not depend on its parameters: a parameter that still
reaches the losses is used elsewhere.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import tracers
from jax.extend import core as jax_core

from mia_jax import contracts, validate
from mia_jax.dp import _norms

# Records in the abstract evaluation: a prime, so that no other axis is taken for them.
_NUM_RECORDS = 1009


class Coverage(NamedTuple):
    """Whether taps see every parameter exactly once.

    Attributes:
      claimed: the tapped module of each covered parameter, by its place in the tree.
      what: the first parameter that is not covered, or None.
      reason: why it is not, or None.
    """

    claimed: dict[int, str]
    what: str | None
    reason: str | None

    @property
    def is_complete(self) -> bool:
        """Whether the norms of the taps are the norms of the whole gradient."""
        return self.what is None


def coverage(losses_fn: contracts.LossFn, params, inputs, labels, key=None) -> Coverage:
    """Finds out by abstract evaluation whether taps cover every parameter.

    Args:
      losses_fn: (params, inputs [batch, ...], labels [batch, ...], key) -> [batch].
      params: its parameters; only shapes matter, here and below.
      inputs: [patients, records, ...].
      labels: [patients, records, ...].
      key: what is passed on to `losses_fn`.

    Returns:
      The coverage.
    """
    shape = lambda v: jax.ShapeDtypeStruct((_NUM_RECORDS, *v.shape[2:]), v.dtype)
    abstract = jax.eval_shape(lambda *v: v, params, inputs, labels, key)
    leaves = jax.tree.leaves_with_path(abstract[0])
    found = []

    def trace(params, inputs, labels, key):
        found[:] = [_Interceptor(params, _NUM_RECORDS, _blind)]
        with nn.intercept_methods(found[0]):
            losses = losses_fn(params, inputs, labels, key)
        _check_losses(losses, _NUM_RECORDS)
        return losses, [output for _, output in found[0].taps]

    closed = jax.make_jaxpr(trace)(
        abstract[0], shape(abstract[1]), shape(abstract[2]), abstract[3]
    )
    refused = _strays(closed.jaxpr, len(leaves), found[0]) | found[0].refused
    if not refused:
        return Coverage(found[0].claimed, None, None)
    first = min(refused)
    name = f"params{jax.tree_util.keystr(leaves[first][0])}"
    return Coverage(found[0].claimed, name, refused[first])


def tapped(losses_fn: contracts.LossFn, covered: Coverage) -> Callable[..., jax.Array]:
    """The losses with taps.

    Args:
      losses_fn: as above.
      covered: complete coverage of the same function.

    Returns:
      (params, probe [patients], inputs [batch, ...], labels, key) -> [batch]: the same
      losses. The batch is the patients' in order, equally many records each. The
      gradient of a weighted sum of losses with respect to the probe is the squared norm
      of each patient's part of the gradient with respect to the parameters.

    Raises:
      validate.InputError: when called, if the taps found are not those of `covered`.
    """

    def losses(params, probe, inputs, labels, key):
        emit = functools.partial(_tap, probe)
        interceptor = _Interceptor(params, len(inputs), emit)
        with nn.intercept_methods(interceptor):
            found = losses_fn(params, inputs, labels, key)
        _check_losses(found, len(inputs))
        # A jitted function that was traced before without taps would slip through.
        validate.require(
            interceptor.claimed == covered.claimed and not interceptor.refused,
            f"{len(interceptor.claimed)} of {len(covered.claimed)} parameters tapped",
            "the model calls other modules than in its abstract evaluation",
            "remove jit from the model, or set method='microbatch'",
        )
        return found

    return losses


class _Interceptor:
    """Calls `emit(norm_fn, layer_params, inputs, outputs)` for each layer it covers.

    A parameter is known by the identity of its tracer, so that a path in the tree, a
    wrapper that changes weights or a shared array cannot deceive.

    Attributes:
      claimed: module name by parameter; refused: reason by parameter.
      taps: (parameters, output) of each covered layer.
    """

    def __init__(self, params, num_records: int, emit: Callable[..., jax.Array]):
        self._leaves = jax.tree.leaves(params)  # kept alive: an id names a live object
        self._index = {id(leaf): i for i, leaf in enumerate(self._leaves)}
        self._num_records, self._emit = num_records, emit
        self._trace, self._open = tracers.current_trace(), None
        self.claimed: dict[int, str] = {}
        self.refused: dict[int, str] = {}
        self.taps: list[tuple[frozenset[int], jax.Array]] = []

    def __call__(self, next_fun, args, kwargs, context):
        module = context.module
        own = self._own(module) if context.method_name == "__call__" else frozenset()
        # A subclass that calls its parent's method is one layer.
        if not own or module is self._open:
            return next_fun(*args, **kwargs)
        if self._open is not None:
            both = own | self._own(self._open)
            self._refuse(both, _title(self._open), "calls another module with weights")
            return next_fun(*args, **kwargs)
        self._open = module
        outputs = next_fun(*args, **kwargs)
        self._open = None
        return self._cover(module, own, args, kwargs, outputs)

    def _cover(self, module, own, args, kwargs, outputs):
        """The output of a layer with a tap on it, or as it is if none is possible."""
        reason = self._reason(own, args, outputs)
        if not reason and not own & self.refused.keys():
            rule = _norms.find(module, args, kwargs, outputs)
            reason = rule if isinstance(rule, str) else None
        if reason:
            self._refuse(own, _title(module), reason)
        if own & self.refused.keys():
            return outputs
        self.claimed |= dict.fromkeys(own, _title(module))
        self.taps.append((own, outputs))
        return self._emit(rule, module.variables["params"], args[0], outputs)

    def _own(self, module: nn.Module) -> frozenset[int]:
        """The parameters of a module without parts; empty if it is no such layer."""
        if module.scope is None:
            return frozenset()
        params = module.variables.get("params", {})
        leaves = [id(leaf) for leaf in jax.tree.leaves(params)]
        has_parts = any(isinstance(value, Mapping) for value in params.values())
        if has_parts or not all(leaf in self._index for leaf in leaves):
            return frozenset()
        return frozenset(self._index[leaf] for leaf in leaves)

    def _reason(self, own, args, outputs) -> str | None:
        """Why a layer cannot be tapped where it is called; None if it can."""
        if own & self.claimed.keys():
            return "is used more than once, and norms do not add"
        if tracers.current_trace() != self._trace:
            return "is called inside scan, vmap, remat or jit"
        for value in (*args[:1], outputs):
            shape = getattr(value, "shape", ())
            if not args or shape[:1] != (self._num_records,):
                return "does not have the records on the first axis of input and output"
        return None

    def _refuse(self, own, title: str, reason: str) -> None:
        for index in own:
            self.refused.setdefault(index, f"{title} {reason}")


def _title(module: nn.Module) -> str:
    """ "Dense 'Dense_0'"."""
    return f"{type(module).__name__} {'/'.join(module.path)!r}"


def _blind(rule, params, inputs, outputs) -> jax.Array:
    """Stands for a layer's output: depends on its inputs, not on its parameters."""
    del rule, params
    return jnp.broadcast_to(jnp.sum(inputs).astype(outputs.dtype), outputs.shape)


def _tap(probe, rule, params, inputs, outputs) -> jax.Array:
    """The output of a layer, whose norm rule is the gradient of the probe."""

    # Everything a rule uses is an argument: a custom rule must not close over tracers.
    @jax.custom_vjp
    def tap(params, inputs, outputs, probe):
        del params, inputs, probe
        return outputs

    def forward(params, inputs, outputs, probe):
        return outputs, (params, inputs, probe)

    def backward(residuals, errors):
        params, inputs, probe = residuals
        return None, None, errors, rule(params, inputs, errors, len(probe))

    tap.defvjp(forward, backward)
    return tap(*jax.lax.stop_gradient((params, inputs)), outputs, probe)


def _check_losses(losses: jax.Array, num_records: int) -> None:
    validate.require(
        losses.shape == (num_records,),
        f"losses of shape {losses.shape} for {num_records} records",
        "must be one loss per record",
        "return [batch] losses, not their mean",
    )


def _strays(jaxpr, num_params: int, interceptor: _Interceptor) -> dict[int, str]:
    """Parameters that are used beside the taps, with the reason."""
    losses, *outputs = jaxpr.outvars
    reason = "is used outside every module that a tap covers"
    found = dict.fromkeys(_sources(jaxpr, losses, num_params), reason)
    for (own, _), output in zip(interceptor.taps, outputs):
        found |= dict.fromkeys(_sources(jaxpr, output, num_params) - own, reason)
    return found


def _sources(jaxpr, output: Any, num_params: int) -> set[int]:
    """Parameters (the first inputs of a program) that an output depends on."""
    is_variable = lambda v: not isinstance(v, jax_core.Literal)
    live = {output} if is_variable(output) else set()
    for equation in reversed(jaxpr.eqns):
        if not live.isdisjoint(equation.outvars):
            live.update(filter(is_variable, equation.invars))
    return {i for i, v in enumerate(jaxpr.invars[:num_params]) if v in live}
