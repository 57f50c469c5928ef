import pytest

from studio.core.anatomy import ModelInfo, describe_model


@pytest.fixture(scope="session")
def starter_info() -> ModelInfo:
    return describe_model("starter")
