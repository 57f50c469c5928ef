"""The model card: what lies in an exported folder, where it comes from, how good it is and how to use it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_EXAMPLE = "Write a text here."  # never a row of the data, which may be private


@dataclass(frozen=True)
class Origin:
    """Where a trained model comes from, in words for its card."""

    name: str
    base_model: str
    data_file: str
    n_rows: int
    task: str
    method: str


def model_card(origin: Origin, exporter: Any, task: Any, labels: Sequence[str], verdict: dict[str, Any]) -> str:
    """Return the card as Markdown with the header that model hubs read."""
    tag = task.pipeline
    usage = exporter.usage.replace("FOLDER", "path/to/this/folder").replace("TEXT", repr(_EXAMPLE))
    usage = usage.replace("PIPELINE", repr(task.pipeline))
    lines = [
        f"---\npipeline_tag: {tag}\ntags:\n- {tag}\n- {exporter.id}\n---\n",
        f"# {origin.name}\n",
        f"{origin.task}, fine-tuned with Attune.\n",
        "| | |\n|---|---|",
        f"| Base model | {_cell(origin.base_model)} |",
        f"| Data | {_cell(origin.data_file)}, {origin.n_rows:,} rows |",
        f"| Method | {_cell(origin.method)} |",
        *([f"| Labels | {_cell(', '.join(labels))} |"] if labels else []),
        f"| Format | {exporter.label}, {verdict['size_bytes'] / 1e6:.1f} MB |\n",
        "## Measured\n",
        f"The files here were loaded afresh and compared with the trained model on {verdict['n_rows']:,} rows.\n",
        "| | these files | trained model |\n|---|---|---|",
        f"| {verdict['metric_name']} | {verdict['metric']:.4f} | {verdict['reference_metric']:.4f} |",
        _milliseconds("32 texts", verdict, ""),
        _milliseconds("1 text", verdict, "_single") + "\n",
        f"Same answer on {verdict['prediction_agreement']:.1%} of the rows; "
        f"largest difference of an output {verdict['max_logit_difference']:.2g}.\n",
        "## Use\n",
        f"```python\n{usage}```\n",
        "## Terms\n",
        "The base model and the data each come under terms of their own; look there before you pass this model on.",
    ]
    return "\n".join(lines) + "\n"


def _milliseconds(what: str, verdict: dict[str, Any], end: str) -> str:
    ours, theirs = verdict[f"latency_ms{end}"], verdict[f"reference_latency_ms{end}"]
    return f"| time for {what}, {verdict['n_threads']} threads | {ours:.1f} ms | {theirs:.1f} ms |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
