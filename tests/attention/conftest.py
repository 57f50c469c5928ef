"""The tiny models, each built once."""

import pytest
from tiny_models import make_model


@pytest.fixture(scope="session")
def models():
    """Return a function that builds each family's model once."""
    made = {}

    def get(family):
        if family not in made:
            made[family] = make_model(family)
        return made[family]

    return get
