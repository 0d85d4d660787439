"""Which device and number format to compute with."""

from __future__ import annotations

import os
import time
from functools import cache

import torch

from mmreason.schema import DataError


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` takes CUDA, then MPS, then the CPU.

    Of several GPUs each process of a machine takes its own; processes that are more than the GPUs share them.

    Raises:
        DataError: If a device is asked for by name and there is none.
    """
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        gpus = torch.cuda.device_count()
        if not gpus:
            raise DataError(
                "device=cuda, but this machine has no GPU that torch can use; set device=cpu or auto"
            )
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % gpus)
    if name != "auto":
        return _named_device(name)
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _named_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        return device
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"device={name}: this machine has none that torch can use ({said}); set device=cpu or auto"
        ) from None


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """``auto`` takes bf16 where the hardware multiplies it fast, else fp32."""
    if name != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if device.type == "cpu" and _cpu_multiplies_bf16_fast() else torch.float32


@cache
def _cpu_multiplies_bf16_fast() -> bool:
    """Whether bf16 beats fp32 clearly, timed: some CPUs with bf16 instructions run them at half the speed of fp32."""
    if not getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)():
        return False
    return _matmul_seconds(torch.float32) > 1.3 * _matmul_seconds(torch.bfloat16)


def _matmul_seconds(dtype: torch.dtype, size: int = 768) -> float:
    """The quickest of several products of two square matrices."""
    a = torch.ones(size, size, dtype=dtype)
    seconds = []
    for _ in range(7):
        started = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - started)
    return min(seconds)
