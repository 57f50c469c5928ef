"""The window knows which models can do a task from a list; it says what the library says."""

import pytest
import transformers
from transformers.models.auto import modeling_auto

from studio.core.anatomy import _architectures
from studio.core.registry import family
from studio.ui.draft import Draft


def test_list_of_model_types_is_the_librarys() -> None:
    for auto_class, types in _architectures().items():
        mapping = getattr(transformers, auto_class)._model_mapping
        assert set(types) == set(mapping._model_mapping), f"{auto_class}: write resources/architectures.json anew"
    asked = {task.auto_class for task in family("tasks").values()} - {"AutoModel"}
    assert asked <= set(_architectures())
    assert "t5" not in modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES, "so that the next test means something"


@pytest.mark.parametrize(("model_type", "is_able"), [("bert", True), ("vit", False), ("made-up", False)])
def test_a_model_that_can_not_is_refused_in_the_form(model_type: str, is_able: bool, starter_info) -> None:
    from dataclasses import replace

    draft = Draft(model_info=replace(starter_info, model_type=model_type))
    reasons = [problem.reason for problem in draft.problems() if problem.field == "model"]
    assert reasons == ([] if is_able else ["model-unsupported"])
