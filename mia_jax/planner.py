"""Which devices a run uses, and what it will cost: measured on its own program."""

import dataclasses
import os
import sys
import time
from typing import NamedTuple

import jax
import numpy as np

from mia_jax import config, shadow, validate

# Models per program. CPU: measured best on small and wide MLPs together
# (benchmarks/README.md); more only overflow the cache. Accelerators: not measured.
_MODELS_PER_GROUP_CPU, _MODELS_PER_GROUP_ACCELERATOR = 2, 32
# Steps timed for the estimate, after one warm-up of as many.
TIMED_STEPS = 8


def configure_cpu() -> None:
    """One XLA device per CPU core; call before anything else touches JAX.

    Whole programs side by side, one on each core, in place of one program whose matrix
    products are split over cores (benchmarks/README.md).
    """
    jax.config.update("jax_num_cpu_devices", num_cores())


def num_cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def devices(num_devices: int) -> list[jax.Device]:
    """The first `num_devices` local devices; 0 = all.

    Raises:
      InputError: if there are fewer.
    """
    local = jax.local_devices()
    validate.require(
        num_devices <= len(local),
        f"speed.num_devices={num_devices}",
        f"must be at most the {len(local)} local {local[0].platform} devices",
        "use 0 for all of them",
    )
    return local[: num_devices or None]


def with_group_size(settings: config.RunSettings) -> config.RunSettings:
    """The settings with `train.models_per_group` chosen by platform where it is 0.

    The number is stored with the run, since it is part of the rounding; it depends on
    the platform alone, so the same command makes the same run on any CPU.
    """
    if settings.train.models_per_group:
        return settings
    is_cpu = jax.default_backend() == "cpu"
    size = _MODELS_PER_GROUP_CPU if is_cpu else _MODELS_PER_GROUP_ACCELERATOR
    train = dataclasses.replace(settings.train, models_per_group=size)
    return dataclasses.replace(settings, train=train)


class Estimate(NamedTuple):
    """What training will cost.

    Attributes:
      seconds: wall time of the remaining groups, compilation included.
      gigabytes: memory of the process at its peak: what it has now, the program on all
        devices, and the statistics of all models in the attack stage.
    """

    seconds: float
    gigabytes: float


def estimate(engine: shadow.Engine, todo: list[shadow.Group]) -> Estimate:
    """Times a few steps of the first group and reads the program's memory.

    One device is timed while all of them will be busy, so on a CPU with shared caches
    the estimate is a little low.
    """
    if not todo:
        needed = _analysis_bytes(engine) / 1e9
        return Estimate(0.0, _resident_gigabytes() + needed)
    device = next(iter(engine.data))
    steps = jax.device_put(np.arange(TIMED_STEPS, dtype=np.int32), device)
    begin = time.perf_counter()
    arguments = (*engine.start(todo[0], device), steps, engine.data[device])
    compiled = engine.programs.train.lower(*arguments).compile()
    compile_seconds = time.perf_counter() - begin
    memory = compiled.memory_analysis()
    seconds_per_step = min(
        _time(engine, todo[0], device, compiled, steps) for _ in "123"
    )
    waves = -(-len(todo) // len(engine.data))
    seconds = waves * engine.total_steps * seconds_per_step
    used = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    needed = max(1.25 * used * len(engine.data), _analysis_bytes(engine))
    return Estimate(seconds + compile_seconds, _resident_gigabytes() + needed / 1e9)


def _analysis_bytes(engine: shadow.Engine) -> float:
    """The attack stage: programs and tables, and arrays [models, records].

    Statistic, its ranks, scores and copies: about 8 float32 arrays; the rest by
    measurement (RandHIE, 512 models: 1.2 GB at the peak).
    """
    columns = engine.num_columns
    return 0.4e9 + 8 * 4.0 * len(engine.member_mask) * engine.num_pool_records * columns


def _resident_gigabytes() -> float:
    """Memory of this process so far; 0 where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def _time(engine, group, device, compiled, steps) -> float:
    """Seconds a step; the state is donated, so every call starts afresh."""
    arguments = engine.start(group, device)
    jax.block_until_ready(arguments)
    begin = time.perf_counter()
    jax.block_until_ready(compiled(*arguments, steps, engine.data[device]))
    return (time.perf_counter() - begin) / TIMED_STEPS


def total_memory_gigabytes() -> float | None:
    """Memory of the machine's CPU side in GB; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, AttributeError, OSError):
        return None
