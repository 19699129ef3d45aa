"""The tests run what users run, but for three things. Chains end after 20 tokens: untrained models
write to the limit. The figures of a run are made but not drawn, unless a test looks at them: that
takes longer than its training. GSM8K's place is taken by a few problems of our own, so that nothing
is downloaded; the task `own` has the file that it writes as an example. And one thread: to small
models a second one only costs."""
import functools
import os

os.environ["CUDA_VISIBLE_DEVICES"] = ""     # before torch: exact equality is checked on the CPU

import pytest
import torch

import rl
import runs
import train
from data import files, gsm8k_files, own
from tests.helpers import FEW, write_stories

MAX_THINK = 20      # tokens of a chain

torch.set_num_threads(1)
torch.backends.mps.is_available = functools.cache(lambda: False)    # torch 2.15 needs it cached


@pytest.fixture(autouse=True, scope="session")
def quick(tmp_path_factory):
    """Chains end early, figures are not drawn, and GSM8K is in a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        limits = runs.limits
        patch.setattr(runs, "limits", lambda task, n=256: limits(task, n) | {
            "max_think": MAX_THINK})
        for script in (train, rl):
            patch.setattr(script, "draw", lambda figure, path: files.write(path, "not drawn"))
        patch.setattr(gsm8k_files, "FOLDER", tmp_path_factory.mktemp("gsm8k"))
        write_stories(gsm8k_files.FOLDER)
        path = tmp_path_factory.mktemp("own") / "zorp.json"
        own.main(["--example", str(path)])
        patch.setitem(FEW, "own", ["--data", str(path)])
        yield
