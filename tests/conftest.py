"""Runs in tests are validated once: untrained models decode to the limit, which takes long."""
import pytest

import train


@pytest.fixture(autouse=True, scope="session")
def validate_once():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "VALIDATIONS", 1)
        yield
