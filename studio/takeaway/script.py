"""Any training as one Python file on torch, transformers and peft: its first losses are those of the run."""

import base64
import math
import pprint
import re
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from studio import __version__
from studio.core.estimate import as_picked, steps_per_epoch
from studio.core.files import read_json, write_atomic
from studio.core.paths import resources_dir
from studio.core.reasons import Failure
from studio.core.registry import PluginConfig, plugin
from studio.core.rundir import RunDir
from studio.core.spec import TrainingSpec, TrainSpec
from studio.takeaway.code import Bundle
from studio.tasks.base import task_of

_PARTS = ("train", "validation", "test")


def save_script(run: RunDir, path: Path) -> None:
    """Write a training run as a Python file. Raises Failure for another kind of run, or one that read no rows yet."""
    text = script_of(run, path.name)
    try:
        write_atomic(path, text)
    except OSError as error:
        raise Failure("workspace-unwritable", path=str(path), message=error.strerror or str(error)) from error


def script_of(run: RunDir, file: str = "script.py") -> str:
    """Return the text of a Python file that trains what a run did. Raises Failure as `save_script` does."""
    spec, resolved = run.spec(), read_json(run.resolved_file)
    if not isinstance(spec, TrainSpec):
        raise Failure("script-no-training", run=run.id)
    if resolved is None or "split" not in resolved:
        raise Failure("script-too-early", run=run.id)
    picked = {name: each["value"] for name, each in resolved["picked"].items()}
    parts = {"quick": picked["kernels"] == "quick", "frozen": picked.get("frozen_output") == "once"}
    parts["started"] = "head_start" in picked
    try:
        bundle = _code(spec, parts)
    except LookupError as error:
        raise Failure("script-no-source", message=str(error)) from error
    template = (resources_dir() / "script" / "train.py").read_text(encoding="utf-8").splitlines()
    own = [line for line in template if re.match(r"import |from (?!__future__)\S+ import ", line)]
    filled = {
        "about": _about(run, spec, picked, file),
        "imports": _sorted_imports([*own, *bundle.imports]),
        "settings": _settings(run, spec, resolved, picked),
        "code": bundle.text,
        "wiring": _wiring(spec),
    }
    return _fill([line for line in template if line not in own], filled, parts)


def _code(spec: TrainSpec, parts: dict[str, bool]) -> Bundle:
    is_quick, is_frozen = parts["quick"], parts["frozen"]
    bundle = Bundle(given=["Failure"])
    sources = {each.kind: each for each in (getattr(spec.data, p) for p in _PARTS) if isinstance(each, PluginConfig)}
    for config in sources.values():
        _add_plugin(bundle, plugin("sources", config), ["read"])
    task_methods = ["__init__", "rows", "encode", "targets", "collator", "training_collator", "reduce", "answers"]
    task_methods += ["score", "wrap", "finish_folder", "target_names"]
    _add_plugin(bundle, task_of(spec.task), task_methods)
    _add_plugin(bundle, plugin("methods", spec.method), ["apply"])
    for name in ("Rows", "of_tokens"):
        bundle.add("studio.tasks.base", name)
    bundle.add("studio.engine.tokens", "for_model")
    for name in ("hold_in_bf16", "restore"):
        bundle.add("studio.engine.frozen_weights", name)
    if is_quick:
        bundle.add_module("studio.engine.kernels")
    methods = ["__init__", "_get_train_sampler", "get_train_dataloader", "evaluate", "_determine_best_metric"]
    methods += ["create_optimizer", "_clip_grad_norm", "_get_grad_norm"] if is_quick else []
    bundle.add_methods("studio.engine.own_trainer", "OwnTrainer", methods)
    if parts["started"]:
        bundle.add("studio.engine.models", "start_head")
    if is_frozen:
        for name in ("Trunk", "n_frozen_layers", "collate"):
            bundle.add("studio.engine.trunk", name)
    return bundle


def _add_plugin(bundle: Bundle, found: Any, methods: list[str]) -> None:
    bundle.add_methods(type(found).__module__, type(found).__name__, methods)


def _fill(template: list[str], filled: dict[str, str], parts: dict[str, bool]) -> str:
    """Return a template with texts at their marks, and without the parts that are off."""
    lines, keeps = [], [True]
    for line in template:
        mark = re.fullmatch(r"\s*# \[(if )?(\w+)\]", line)
        if mark and mark[1]:
            keeps.append(keeps[-1] and parts[mark[2]])
        elif mark and mark[2] == "end":
            keeps.pop()
        elif keeps[-1]:
            lines.append(filled[mark[2]] if mark else line)
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)) + "\n"


def _sorted_imports(lines: Iterable[str]) -> str:
    """Return import lines in two groups, those of Python's own library first, one line a module."""
    names: dict[str, set[str]] = {}
    for line in lines:
        words = line.split(maxsplit=3)
        if words[0] == "from":
            names.setdefault(words[1], set()).update(words[3].split(", "))
        elif line:
            names.setdefault(line, set())
    made = {
        (f"from {module} import {', '.join(sorted(found))}" if found else module): module.split()[-1 if found else 1]
        for module, found in names.items()
    }
    groups: list[list[str]] = [[], []]
    for line in sorted(made, key=lambda line: (line.startswith("from"), line)):
        groups[made[line].split(".")[0] not in sys.stdlib_module_names].append(line)
    return "\n\n".join("\n".join(group) for group in groups if group)


_ABOUT = '''\
"""{name}: a training of {model} on {data} with {method}, as one file.

    python {file} [FOLDER]

It needs torch, transformers, peft and datasets; Attune need not be installed. It trains what the run
{run} of Attune {version} trained, from the same rows in the same order with the same random numbers:
on the same machine with the same versions its losses are the run's. It prints one line of JSON for each step, and
saves checkpoints and the model in FOLDER.

What it leaves out of Attune:
{left_out}
"""'''


def _about(run: RunDir, spec: TrainSpec, picked: dict[str, Any], file: str) -> str:
    left_out = [
        "the window: live curves, stop, pause, saving and measuring on demand, notices",
        "crash safety: checkpoints are written in place, and a resume is Trainer's own, not exact",
        "checks of the data (copies, rare labels, leaks between the parts) and of memory and disk before it starts",
        "the automatic settings: what was picked for this run stands below as a number",
        "intervals, confusion matrix, predictions by row, attention maps, verified exports",
        "more metrics than the one by which the best checkpoint is chosen",
    ]
    if picked.get("torch_compile"):
        left_out.append("the compilation of the layers: the losses differ a little in their last digits for it")
    if spec.training.probe_text:
        left_out.append("the sentence that was watched: it changes nothing in the training")
    if read_json(run.path / "spec.attempt1.json"):
        left_out.append("the settings of former attempts: those of the last one count from the first step")
    method = plugin("methods", spec.method)
    return _ABOUT.format(
        name=_plain(run.name() or run.id),
        model=_plain(Path(spec.model).name),
        data=_plain(Path(spec.data.train.path).name),
        method=method.label,
        file=_plain(file),
        run=run.id,
        version=__version__,
        left_out="\n".join(f"- {line}." for line in left_out),
    )


def _plain(text: str) -> str:
    """Return text that may stand in a docstring."""
    return text.replace("\\", "/").replace('"', "'")


# Settings that TrainingArguments takes under the same name, as they are.
_SAME = {
    "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "weight_decay", "max_grad_norm",
    "label_smoothing_factor", "lr_scheduler_type", "warmup_steps", "seed",
}  # fmt: skip


def _settings(run: RunDir, spec: TrainSpec, resolved: dict[str, Any], picked: dict[str, Any]) -> str:
    """Return the numbers and names of a run as assignments."""
    training = as_picked(spec.training, picked)
    values = {
        "MODEL": (str(resolved["model_path"]), "the model's folder"),
        "OUT": (f"{run.id}-script", "where the model goes unless a folder is given"),
        "FILES": (_files(spec, resolved), "part_of_row: 0 out, 1 train, 2 validation, 3 test; a byte a row, packed"),
        "COLUMNS": ({role: str(column) for role, column in spec.columns.items()}, ""),
        "LABELS": (resolved["labels"], ""),
        "MAX_LENGTH": (resolved["max_length"], "tokens"),
        "SEED": (training.seed, ""),
        "PRECISION": (picked["precision"], ""),
        "THREADS": (picked["threads"], ""),
        "IS_QUICK": (picked["kernels"] == "quick", "with layers that are quick on a processor"),
        "GROUP_BY_LENGTH": (training.group_by_length, ""),
        "PATIENCE": (training.early_stopping_patience, "evaluations without a better result; 0 never stops early"),
        "HEAD": (task_of(spec.task).head(resolved["labels"]), "what the new head is made from"),
        "HEAD_START": (picked.get("head_start"), "what its outputs begin around, and their spread"),
        "N_OUTPUTS": (len(task_of(spec.task).output_names), "that count, of all that the model gives"),
        "PER_TOKEN": (task_of(spec.task).per_token, "whether they have an axis of tokens"),
        "MAIN_METRIC": (task_of(spec.task).main_metric, ""),
        "ARGUMENTS": (_arguments(spec, training, resolved, picked), "of transformers.TrainingArguments"),
        "SAFE": ({"local_files_only": True, "trust_remote_code": False}, "nothing is fetched, no foreign code runs"),
    }
    lines = []
    for name, (value, comment) in values.items():
        shown = pprint.pformat(value, width=110, sort_dicts=False)
        if "\n" in shown:
            shown = f"{shown[0]}\n    " + shown[1:-1].replace("\n", "\n   ") + f",\n{shown[-1]}"
        lines.append((f"# {comment}\n" if comment else "") + f"{name} = {shown}")
    return "\n".join(lines)


def _arguments(
    spec: TrainSpec, training: TrainingSpec, resolved: dict[str, Any], picked: dict[str, Any]
) -> dict[str, Any]:
    n_rows = {name: len(resolved["split"][name]) for name in _PARTS}
    has_validation = bool(n_rows["validation"])
    n_features = resolved.get("n_features", n_rows["train"])
    every = max(1, math.ceil(steps_per_epoch(training, n_features) / training.evaluations_per_epoch))
    return {
        **{name: value for name, value in training.model_dump().items() if name in _SAME},
        "learning_rate": picked["learning_rate"],
        "per_device_eval_batch_size": max(1, min(64, task_of(spec.task).batch_tokens // 128)),
        "remove_unused_columns": False,
        "bf16": picked["precision"] == "bf16",
        "fp16": picked["precision"] == "fp16",
        "eval_strategy": "steps" if has_validation else "no",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 2,
        "load_best_model_at_end": training.load_best_model_at_end and has_validation,
        "metric_for_best_model": task_of(spec.task).main_metric if has_validation else None,
        "greater_is_better": task_of(spec.task).greater_is_better if has_validation else None,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
    }


def _files(spec: TrainSpec, resolved: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the files of a run: how each is read, and to which part of the split each of its rows belongs."""
    own = [name for name in _PARTS[1:] if isinstance(getattr(spec.data, name), PluginConfig)]
    shared = [name for name in _PARTS if name not in own]
    files = []
    for config, parts in [(spec.data.train, shared), *((getattr(spec.data, name), [name]) for name in own)]:
        places = {i: 1 + _PARTS.index(name) for name in parts for i in resolved["split"][name]}
        codes = bytearray(max(places, default=-1) + 1)
        for i, code in places.items():
            codes[i] = code
        options = config.model_dump(exclude={"kind", "path"})
        if "header" in options and any(isinstance(column, int) for column in spec.columns.values()):
            options["header"] = False  # columns given by number mean that there is none
        packed = base64.b64encode(zlib.compress(bytes(codes), 9)).decode()
        files.append(
            {"kind": config.kind, "path": config.path, "sha256": resolved["hashes"][config.path], "options": options,
             "part_of_row": packed}
        )  # fmt: skip
    return files


def _wiring(spec: TrainSpec) -> str:
    """Return the assignments that name the run's own classes."""
    task, method = task_of(spec.task), plugin("methods", spec.method)
    sources = {each.kind: each for each in (getattr(spec.data, p) for p in _PARTS) if isinstance(each, PluginConfig)}
    readers = ", ".join(f"{kind!r}: {_class(plugin('sources', config))}()" for kind, config in sources.items())
    return "\n".join(
        [
            f"READERS = {{{readers}}}",
            f"TASK = {_class(task)}(Settings({_keywords(spec.task)}))",
            f"AUTO_CLASS = transformers.{task.auto_class}",
            f"METHOD, METHOD_SETTINGS = {_class(method)}(), Settings({_keywords(spec.method)})",
        ]
    )


def _keywords(config: PluginConfig) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in config.model_dump(exclude={"kind"}).items())


def _class(found: Any) -> str:
    return type(found).__name__
