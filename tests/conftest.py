"""What keeps the tests fast. Runs in them are validated once: untrained models decode to the limit.
And one thread: to their small models a second one only costs."""
import pytest
import torch

import train

torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def validate_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "VALIDATIONS", 1)
        yield
