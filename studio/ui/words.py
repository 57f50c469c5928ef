"""Numbers, times and states as people read them; everything here passes `tr`."""

import math
import time

from studio.ui.i18n import tr

THIN = "\N{NO-BREAK SPACE}"

PAGES = {
    "data": "Data",
    "model": "Model",
    "train": "Train",
    "inspect": "Inspect",
    "evaluate": "Evaluate",
    "export": "Export",
    "runs": "Runs",
}
STATES = {
    "queued": "in the queue",
    "waiting": "waiting",
    "running": "running",
    "paused": "paused",
    "finished": "finished",
    "stopped": "stopped",
    "failed": "failed",
    "ended": "ended",
}
KINDS = {
    "train": "training",
    "evaluate": "evaluation",
    "predict": "prediction",
    "inspect": "inspection",
    "export": "export",
    "profile": "profile",
    "probe": "trial",
}
PHASES = {
    "loading": "starting",
    "data": "reading the data",
    "model": "loading the model",
    "frozen": "computing the frozen layers once",
    "compiling": "trying out whether compiling pays",
    "training": "training",
    "evaluating": "evaluating",
    "saving": "saving",
    "exporting": "exporting",
    "verifying": "verifying",
    "optimising": "optimising",
    "explaining": "looking inside",
    "ready": "ready",
    "probing": "trying it out",
}
METRICS = {
    "loss": "Loss",
    "predicted": "Predicted",
    "accuracy": "Accuracy",
    "f1_macro": "F1 (macro)",
    "perplexity": "Perplexity",
    "mrr": "MRR",
    "recall_at_1": "Recall at 1",
    "recall_at_5": "Recall at 5",
    "recall_at_10": "Recall at 10",
    "entity_f1": "Entity F1",
    "entity_precision": "Entity precision",
    "entity_recall": "Entity recall",
    "token_accuracy": "Word accuracy",
    "exact_match": "Exact match",
    "f1": "F1",
    "has_answer_exact_match": "Exact match, with an answer",
    "has_answer_f1": "F1, with an answer",
    "no_answer_accuracy": "Accuracy, without an answer",
    "f1_micro": "F1 (micro)",
    "auc": "AUC",
    "mcc": "Matthews (MCC)",
    "ece": "Calibration error",
    "subset_accuracy": "All labels right",
    "spearman": "Spearman",
    "pearson": "Pearson",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "learning_rate": "Learning rate",
    "grad_norm": "Gradient norm",
    "samples_per_second": "Rows/s",
    "precision_macro": "Precision (macro)",
    "recall_macro": "Recall (macro)",
}


def count(n: float) -> str:
    """Return a number of things: `866`, `67,349`, `22.7 M`."""
    if abs(n) < 100_000:
        return f"{n:,.0f}"
    for limit, unit in ((1e6, "k"), (1e9, "M"), (1e12, "G")):
        if abs(n) < limit * 0.9995:
            return f"{_three(n / limit * 1000)}{THIN}{unit}"
    return f"{_three(n / 1e12)}{THIN}T"


def size(n_bytes: float) -> str:
    """Return a size in decimal units: `640 B`, `23.4 MB`, `1.3 GB`."""
    value, units = float(n_bytes), ["B", "kB", "MB", "GB", "TB"]
    while abs(value) >= 999.5 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{_three(value) if units[0] != 'B' else f'{value:.0f}'}{THIN}{units[0]}"


def duration(seconds: float) -> str:
    """Return a time span in its two largest units: `0.4 s`, `38 s`, `4 min 10 s`, `2 h 5 min`."""
    if not math.isfinite(seconds):
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f}{THIN}s" if seconds else f"0{THIN}s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds}{THIN}s"
    for large, small, unit, lesser in ((60, 1, "min", "s"), (3600, 60, "h", "min"), (86400, 3600, "d", "h")):
        if seconds < large * {60: 60, 3600: 24, 86400: 10**6}[large]:
            first, rest = divmod(seconds, large)
            rest //= small
            return f"{first}{THIN}{unit}" + (f" {rest}{THIN}{lesser}" if rest else "")
    return "–"


def number(value: float, digits: int = 4) -> str:
    """Return a measured number to `digits` significant digits: `0.8784`, `−4.32`, `1.2e-05`, `NaN`."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value < 0:
        return "−" + number(-value, digits)
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e6:
        decimals = max(0, digits - 1 - max(-1, math.floor(math.log10(abs(value)))))
        return f"{value:,.{decimals}f}"
    return f"{value:.{max(0, digits - 3)}e}"


def metric(value: float) -> str:
    """Return a score with four decimals, as papers do: `0.8784`."""
    return f"{value:.4f}" if math.isfinite(value) else number(value)


def score(value: float) -> str:
    """Return the number by which runs are compared: a share with four decimals, anything larger to four digits."""
    return metric(value) if abs(value) <= 1 else number(value)


def percent(share: float, digits: int = 0) -> str:
    """Return a share as percent: `43 %`."""
    return f"{share * 100:.{digits}f}{THIN}%"


def moment(seconds: float) -> str:
    """Return a time since the epoch as people say it: `14:05` today, `3 Mar 14:05` this year, else with the year."""
    then, now = time.localtime(seconds), time.localtime()
    if then[:3] == now[:3]:
        return time.strftime("%H:%M", then)
    day = f"{then.tm_mday} {time.strftime('%b', then)}"
    return f"{day} {time.strftime('%H:%M', then)}" if then.tm_year == now.tm_year else f"{day} {then.tm_year}"


def word(table: dict[str, str], key: str) -> str:
    """Return the word of `key` in one of this module's tables; an unknown key is said with blanks."""
    return tr(table.get(key, key.replace("_", " ").replace("-", " ")))


def file_name(path: str) -> str:
    """Return the last part of a path written on any system."""
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]


def _three(value: float) -> str:
    return f"{value:.{1 if abs(value) < 99.95 else 0}f}"
