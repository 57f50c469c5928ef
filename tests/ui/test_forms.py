from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent

from studio.core.registry import family
from studio.core.spec import TrainingSpec
from studio.ui.forms import Form


def show(qtbot, form: Form) -> Form:
    qtbot.addWidget(form)
    form.show()
    return form


def type_into(qtbot, form: Form, name: str, text: str) -> None:
    editor = form.editor(name)
    editor = editor.focusProxy() or editor
    editor.clear()
    qtbot.keyClicks(editor, text)


def test_what_is_typed_becomes_a_value_that_the_spec_takes(qtbot) -> None:
    form = show(qtbot, Form(TrainingSpec))
    with qtbot.waitSignal(form.changed):
        type_into(qtbot, form, "learning_rate", "5e-4")
    type_into(qtbot, form, "per_device_train_batch_size", "1,024")
    assert form.values() == {"learning_rate": 5e-4, "per_device_train_batch_size": 1024}
    assert form.errors() == {}
    assert TrainingSpec.model_validate(form.values()).learning_rate == 5e-4


def test_a_wrong_value_says_so_at_its_field_and_stays_as_typed(qtbot) -> None:
    form = show(qtbot, Form(TrainingSpec))
    type_into(qtbot, form, "num_train_epochs", "-1")
    type_into(qtbot, form, "per_device_train_batch_size", "many")
    assert set(form.errors()) == {"num_train_epochs", "per_device_train_batch_size"}
    assert form.values()["per_device_train_batch_size"] == "many"
    type_into(qtbot, form, "num_train_epochs", "2")
    assert set(form.errors()) == {"per_device_train_batch_size"}


def test_the_way_back_restores_the_default(qtbot) -> None:
    form = show(qtbot, Form(TrainingSpec))
    row = form._rows["num_train_epochs"]
    assert row.back.isHidden()
    type_into(qtbot, form, "num_train_epochs", "5")
    assert row.back.isVisible()
    qtbot.mouseClick(row.back, Qt.MouseButton.LeftButton)
    assert form.values() == {} and row.back.isHidden()


def test_automatic_and_a_number_exclude_each_other(qtbot) -> None:
    form = show(qtbot, Form(TrainingSpec))
    editor = form.editor("learning_rate")
    assert editor.value() == "auto"
    type_into(qtbot, form, "learning_rate", "0.01")
    assert editor.value() == 0.01 and not editor.button.isChecked()
    qtbot.mouseClick(editor.button, Qt.MouseButton.LeftButton)
    assert editor.value() == "auto" and form.values() == {}


def test_an_error_opens_more_where_its_field_is_hidden(qtbot) -> None:
    form = show(qtbot, Form(TrainingSpec))
    assert not form.editor("weight_decay").isVisible()
    form.set_errors({"weight_decay": "Too much."})
    assert form.editor("weight_decay").isVisible() and form.errors() == {"weight_decay": "Too much."}


def test_the_wheel_changes_nothing(qtbot) -> None:
    form = show(qtbot, Form(TrainingSpec))
    form.focus("lr_scheduler_type")
    editor, at = form.editor("lr_scheduler_type"), QPointF(5, 5)
    turn = QWheelEvent(at, at, QPoint(0, -120), QPoint(0, -120), Qt.MouseButton.NoButton,
                       Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False)  # fmt: skip
    editor.wheelEvent(turn)
    assert form.values() == {} and not turn.isAccepted()


def test_every_plugin_config_draws_its_defaults_and_takes_them_back(qtbot) -> None:
    for name in ("methods", "sources", "tasks", "exporters"):
        for plugin in family(name).values():
            form = show(qtbot, Form(plugin.Config))
            assert form.values() == {}, plugin.id
            form.set_values(form.all_values())
            assert form.values() == {}, plugin.id


def test_showing_values_does_not_disturb_what_is_being_typed(qtbot) -> None:
    form = show(qtbot, Form(TrainingSpec))
    type_into(qtbot, form, "num_train_epochs", "2.")
    form.set_values({"num_train_epochs": 2.0})
    assert form.editor("num_train_epochs").text() == "2."


def test_other_defaults_take_the_place_of_those_that_nobody_changed(qtbot) -> None:
    form = show(qtbot, Form(TrainingSpec))
    type_into(qtbot, form, "max_length", "64")
    form.set_defaults({"num_train_epochs": 5.0, "max_length": 384})
    assert form.values() == {"max_length": 64} and form.all_values()["num_train_epochs"] == 5
    form.set_values({})
    assert form.all_values()["max_length"] == 384 and form.values() == {}
