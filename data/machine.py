"""The machine that a run is on: its processes, its device, and the dtype that is fast there."""
import os
import time
from datetime import timedelta

import torch
import torch.distributed as dist

from data.cli import BadInput

TORCHRUN = all(name in os.environ for name in (     # clusters set some of these without it
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR"))
RANK = int(os.environ["RANK"]) if TORCHRUN else 0
WORLD = int(os.environ["WORLD_SIZE"]) if TORCHRUN else 1
MAIN = RANK == 0    # of the processes that torchrun started, the one that writes
WIDE = 256          # width from which bfloat16 can pay on a CPU: see lab/bench.py --dtype --width


# ---- several processes ---------------------------------------------------------------------------

def join(config):
    """Meets the other processes that torchrun has started, if there are any."""
    if config["grad_accum"] % WORLD:
        raise BadInput(f"--grad-accum {config['grad_accum']}: {WORLD} processes share the "
                       f"batches of a step; make it a multiple of {WORLD}, with a smaller --batch")
    if WORLD > 1 and not dist.is_initialized():
        device, here = pick_device(config["device"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if here > {"cuda": torch.cuda.device_count(), "mps": 1, "cpu": here}[device]:
            raise BadInput(f"{here} processes: each needs a device of its own; or --device cpu")
        if device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=timedelta(hours=3))


def barrier():
    """Waits until all processes are here."""
    if WORLD > 1:
        dist.barrier()


def any_process(flag, device):
    """Is it so in any process? They have to stop together."""
    if WORLD == 1:
        return flag
    flag = torch.tensor(float(flag), device=device)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag)


def print0(text):
    if MAIN:
        print(text, flush=True)


# ---- device and dtype ----------------------------------------------------------------------------

def setup(config, state=None):
    """Device and dtype for this machine, or the dtype of `state`; prints them with the reason."""
    if config["threads"]:
        torch.set_num_threads(config["threads"])
    device, dtype, why = pick_device(config["device"]), config["dtype"], "as asked"
    if state:
        dtype, why = state["dtype"], "as before"
    elif dtype == "auto":
        dtype, why = pick_dtype(device, config["width"])
    if device == "mps" and dtype != "float32":      # half precision may see what comes next
        raise BadInput(f"--dtype {dtype}: on mps only float32 is right")
    several = f", {WORLD} processes" if WORLD > 1 else ""
    n = torch.get_num_threads()
    print0(f"device {device}, {dtype} ({why}), {n} thread{'s' * (n > 1)}{several}")
    return torch.device(device), getattr(torch, dtype)


def pick_device(name):
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(),
            "cpu": True}
    if name == "auto":
        return next(device for device, there in here.items() if there)
    if not here[name]:
        raise BadInput(f"--device {name}: not available here")
    return name


def pick_dtype(device, width):
    if device == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "this GPU has it"
        return "float16", "an older GPU: with a gradient scaler"
    if device == "cpu" and width >= WIDE and bf16_speedup() > 1.5:
        return "bfloat16", "this CPU has it, and the model is wide enough to gain"
    return "float32", "narrow model" if width < WIDE else "no fast bfloat16 here"


def bf16_speedup(n=512):
    """How much faster a matrix product is in bfloat16, measured: some CPUs only emulate it."""
    def fastest(dtype):
        a, times = torch.randn(n, n).to(dtype), []
        for _ in range(5):
            start = time.perf_counter()
            a @ a
            times.append(time.perf_counter() - start)
        return min(times)
    return fastest(torch.float32) / fastest(torch.bfloat16)
