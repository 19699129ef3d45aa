"""What several tests share."""
import pytest
import torch

import train

NANO = ["--size", "nano", "--threads", "1", "--test-n", "8", "--steps", "10"]


def fails(argv, capsys, main=train.main):
    """The one line on stderr of a call that must exit with code 2."""
    with pytest.raises(SystemExit) as stop:
        main(argv)
    lines = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2
    return lines[-1]


def same(a, b):
    """Equal to the last bit, whatever the nesting."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b
