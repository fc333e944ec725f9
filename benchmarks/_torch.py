"""The PyTorch contenders of benchmarks/training.py.

They are given the benefit of the doubt: batches are drawn before the clock starts, the
learning rate is constant and no loss is checked, all of which ours does while timed.
"""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks import _shapes

STACKED_MODELS = 8


def eager(shape: _shapes.Shape, fused: bool) -> Callable[[], None]:
    """One model at a time: a plain loop over batches with `torch.optim.AdamW`."""
    inputs, labels, loss_fn = _data(shape)
    layers = []
    for fan_in, fan_out in zip(shape.widths, shape.widths[1:]):
        layers += [torch.nn.Linear(fan_in, fan_out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = _adamw(model.parameters(), fused)
    indices = torch.from_numpy(_shapes.index_table(shape.model_steps, 1)[:, 0])

    def run():
        for index in indices:
            optimizer.zero_grad(set_to_none=True)
            loss_fn(model(inputs[index]), labels[index]).backward()
            optimizer.step()

    return run


def stacked(shape: _shapes.Shape) -> Callable[[], None]:
    """Eight models at once: stacked weights, `baddbmm`, one fused AdamW."""
    inputs, labels, loss_fn = _data(shape)
    params = _stacked_params(shape)
    optimizer = _adamw(params, True)
    num_steps = shape.model_steps // STACKED_MODELS
    indices = torch.from_numpy(_shapes.index_table(num_steps, STACKED_MODELS))

    def run():
        for index in indices:
            optimizer.zero_grad(set_to_none=True)
            hidden = inputs[index]
            for weight, bias in zip(params[:-2:2], params[1:-2:2]):
                hidden = torch.relu(torch.baddbmm(bias, hidden, weight))
            logits = torch.baddbmm(params[-1], hidden, params[-2])
            # The sum over models of each one's mean loss: gradients as if alone.
            loss = loss_fn(logits.flatten(0, 1), labels[index].flatten(0, 1))
            (loss * STACKED_MODELS).backward()
            optimizer.step()

    return run


def _data(shape: _shapes.Shape):
    """Inputs, labels and mean loss."""
    cohort = _shapes.dataset(shape)
    inputs, labels = torch.from_numpy(cohort.inputs), torch.from_numpy(cohort.labels)
    if shape.widths[-1] == 1:
        loss_fn = torch.nn.functional.binary_cross_entropy_with_logits
        return inputs, labels.float()[:, None], loss_fn
    return inputs, labels.long(), torch.nn.functional.cross_entropy


def _stacked_params(shape: _shapes.Shape) -> list[torch.Tensor]:
    """Weight [models, in, out] and bias [models, 1, out] of each layer in turn."""
    generator = np.random.default_rng(2)
    found = []
    for fan_in, fan_out in zip(shape.widths, shape.widths[1:]):
        size = (STACKED_MODELS, fan_in, fan_out)
        weight = generator.standard_normal(size, np.float32) / np.sqrt(fan_in)
        found.append(torch.from_numpy(weight.astype(np.float32)))
        found.append(torch.zeros(STACKED_MODELS, 1, fan_out))
    return [tensor.requires_grad_() for tensor in found]


def _adamw(params, fused: bool) -> torch.optim.Optimizer:
    options = {"lr": _shapes.LEARNING_RATE, "weight_decay": _shapes.WEIGHT_DECAY}
    return torch.optim.AdamW(params, fused=fused, **options)
