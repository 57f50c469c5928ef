"""What can be looked into: one text, a pair, a row with its label, a chat; and a word put in another's place."""

import json

from studio.ui.panels.inspect_question import CHAT, Question, messages

CHAT_TEXT = "User: Who wrote it?\nAssistant: Two of them.\nOne is dead.\nuser: Which?"


def shown(qtbot, roles=(), knows_chat=False) -> Question:
    question = Question()
    qtbot.addWidget(question)
    question.set_roles(list(roles), knows_chat)
    question.show()
    return question


def test_a_task_of_pairs_has_a_field_for_each_and_a_row_brings_its_label_until_something_is_typed(qtbot):
    question = shown(qtbot, [("question", "Question"), ("context", "Context")])
    question.set_rows([{"question": "who", "context": "it was Mara", "label": "Mara"}, {"question": "when"}])
    question.next_row()
    assert question.second.isVisible() and question.fields() == {"question": "who", "context": "it was Mara"}
    assert question.gold() == "Mara" and not question.is_typed
    qtbot.keyClicks(question.second, "!")
    assert question.gold() == "" and question.is_typed


def test_one_text_is_no_row_and_a_model_of_its_own_can_have_two(qtbot):
    question = shown(qtbot)
    question.put({"text": "a film"})
    assert question.fields() == {} and not question.second.isVisible() and question.mode.findData(CHAT) < 0
    question.put({"text": "a film", "text_pair": "a book"})
    assert question.second.isVisible() and question.fields() == {"text": "a film", "text_pair": "a book"}


def test_a_chat_is_typed_line_by_line_and_comes_back_so(qtbot):
    found = messages(CHAT_TEXT)
    assert [each["role"] for each in found] == ["user", "assistant", "user"]
    assert found[1]["content"] == "Two of them.\nOne is dead."
    question = shown(qtbot, knows_chat=True)
    question.put({"messages": json.dumps(found)})
    assert json.loads(question.fields()["messages"]) == found


def test_a_text_that_comes_while_a_chat_stood_there_is_read_as_a_text(qtbot):
    question = Question()
    qtbot.addWidget(question)
    question.set_roles([], knows_chat=True)
    question.put({"messages": '[{"role": "user", "content": "Who?"}]'})
    assert question.mode.currentData() == CHAT
    question.put({"text": "plain"})
    assert (question.fields(), question.text.toPlainText()) == ({}, "plain")


def test_a_word_goes_with_one_blank_and_another_stands_where_it_stood(qtbot):
    question = shown(qtbot)
    question.put({"text": "the film is dull"})
    question.replace(4, 8, "[MASK]")
    assert question.text.toPlainText() == "the [MASK] is dull"
    question.replace(4, 10, "")
    assert question.text.toPlainText() == "the is dull"
