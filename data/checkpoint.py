"""The checkpoint of a run folder, ckpt.pt: written whole, and trusted only after it was checked."""
import contextlib
import io
import warnings
from pathlib import Path

import torch

from data.cli import BadInput
from data.files import reason, write

FORMAT = "nanolatent 2"     # written into every checkpoint
DTYPES = "float32", "bfloat16", "float16"
RANDOM = {"cuda": torch.cuda, "mps": torch.mps}     # of a CPU, torch itself
CHECKPOINT = {"config": dict, "step": int, "seconds": float, "dtype": str, "method": dict,
              "scaler": dict, "optimizers": list, "rng": torch.Tensor}


@contextlib.contextmanager
def reading(path):
    """Turns whatever goes wrong with a damaged file into BadInput: torch has a dozen errors."""
    try:
        yield
    except MemoryError:
        raise
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    except Exception as error:
        why = f"{type(error).__name__}: {error}".split("\n")[0][:100]
        raise BadInput(f"{path}: damaged, or not a checkpoint of this project ({why})") from None


def save(out, state):
    """Writes the checkpoint of a run folder."""
    content = io.BytesIO()
    torch.save(state, content)
    write(Path(out) / "ckpt.pt", content.getbuffer())


def load(run, check):
    """The checkpoint of a run folder; BadInput if it is missing, damaged or not ours.

    check(config) raises an error unless a config has all settings of its run.
    """
    path = Path(run) / "ckpt.pt"
    try:
        if not path.is_file():
            raise BadInput(f"{run}: no ckpt.pt there, not a run folder")
    except OSError as error:        # a name of more than 255 bytes
        raise BadInput(f"{str(run)[:60]}...: {reason(error)}") from None
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")     # of torch, about files that are not ours
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != FORMAT and str(state["format"]).startswith(FORMAT.split()[0]):
            raise BadInput("only the version of this project that made it can open it")
        if state["format"] != FORMAT or state["dtype"] not in DTYPES:
            raise ValueError("another format")
        if not all(isinstance(state[name], kind) for name, kind in CHECKPOINT.items()):
            raise TypeError("another type")
        check(state["config"])
        if not 0 <= state["step"] <= state["config"]["steps"] or not 0 <= state["seconds"] < 1e12:
            raise ValueError(f"step {state['step']}, {state['seconds']} seconds")
    return state


def load_weights(module, saved):
    """load_state_dict that also insists on the dtypes, which it would convert."""
    for name, own in module.state_dict().items():
        if name in saved and saved[name].dtype != own.dtype:
            raise ValueError(f"{name} is {saved[name].dtype}")
    module.load_state_dict(saved)


def load_moments(optimizer, saved):
    """Gives an optimizer the moments of a checkpoint; all else in its state is as the config says.
    ValueError, or another, unless they fit its parameters."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    adam = isinstance(optimizer, torch.optim.AdamW)
    names = {"step", "exp_avg", "exp_avg_sq"} if adam else {"momentum_buffer"}
    for i, moments in saved.items():
        for name, value in moments.items():
            shape = () if name == "step" else params[i].shape
            if (value.shape, value.dtype, value.layout) != (shape, torch.float32, torch.strided):
                raise ValueError(f"{name} of parameter {i} does not fit")
        if moments.keys() != names:
            raise ValueError(f"moments {', '.join(moments)} of parameter {i}")
    optimizer.load_state_dict(optimizer.state_dict() | {"state": saved})


def load_scaler(scaler, saved):
    """load_state_dict that also insists on the types. ValueError if they are others."""
    own = scaler.state_dict()
    if {name: type(own[name]) for name in own} != {
            name: type(value) for name, value in saved.items()}:
        raise ValueError("another gradient scaler")
    scaler.load_state_dict(saved)


def random_state(device):
    """The state of all random numbers, as a checkpoint holds it: of the CPU, and of the device."""
    own = RANDOM.get(device.type)
    return {"rng": torch.get_rng_state(), "device_rng": own.get_rng_state() if own else None}


def set_random_state(device, state):
    """Goes on with the random numbers of a checkpoint; on another kind of device, with its own."""
    torch.set_rng_state(state["rng"].cpu())
    own = RANDOM.get(device.type)
    if own and state.get("device_rng") is not None:
        own.set_rng_state(state["device_rng"].cpu())
