"""What the draft will take on this machine: by formula at once, and by a probe once the person has stopped typing."""

from dataclasses import replace
from typing import Any

import numpy as np
import psutil
from PySide6.QtCore import QObject, QTimer, Signal

from studio.core import estimate
from studio.core.disk import free_bytes
from studio.core.estimate import Estimate, Job, Machine, Pace
from studio.core.events import Estimated
from studio.core.reasons import Failure, Problem
from studio.core.spec import TrainingSpec, TrainSpec
from studio.tasks.base import task_of
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.store import Store
from studio.ui.threads import background

CALM_MS = 1000  # after the last change
_LOOK_AGAIN_MS = 3000
_MOST_LENGTHS = 20_000  # more of them tell nothing else
_IDLE_PERCENT = 50.0  # of all processors; a machine that is busier has no spare seconds for a cold worker
_SPARE_BYTES = 500 << 20  # what a waiting worker holds, and brings along
OUT_OF_MEMORY = ("out-of-memory", "worker-killed")


class Forecast(QObject):
    """The estimate of the draft, kept up to date; `changed` when there is another one.

    now: the estimate, None while the draft is not complete. machine: what it was compared with. problem: why the
    probe could not measure it. Probes begin while `is_wanted` is set, if the store lets them.
    """

    changed = Signal()

    def __init__(self, store: Store, parent: QObject | None = None):
        super().__init__(parent)
        self._store = store
        self.now: Estimate | None = None
        self.machine: Machine | None = None
        self.problem: Problem | None = None
        self.is_wanted = False
        self._job: Job | None = None
        self._lengths: np.ndarray | None = None  # tokens of each row, estimated, before any is cut
        self._counted: Any = None
        self._known: Any = None  # of the probe, when it was last looked at
        self._timer = QTimer(self, singleShot=True, interval=CALM_MS)
        self._timer.timeout.connect(self._probe)
        store.draft_changed.connect(self._follow)
        store.busy_changed.connect(self.refresh)
        store.probes.changed.connect(self._take)
        self._count_tokens()
        self.refresh()

    @property
    def is_measuring(self) -> bool:
        """Whether a probe of the draft is at work."""
        return self._store.probes.is_at("estimate")

    @property
    def training(self) -> TrainingSpec | None:
        """The draft's training with its batch in numbers, or None while the draft is not complete."""
        return self._job.training if self._job is not None else None

    def changes(self) -> dict[str, int] | None:
        """Return the training settings that make a draft fit which does not, or None."""
        if self._job is None or self.now is None:
            return None
        return estimate.make_fit(self._job, self.machine, self.now.memory if self.now.is_measured else None)

    def cut(self) -> str:
        """Return in words how many rows a probe found to be longer than the longest text; "" for none."""
        found = self._result()
        if not isinstance(found, Estimated) or not found.n_cut:
            return ""
        total = words.count(found.n_train + found.n_validation + found.n_test)
        most = self.training.max_length
        return tr("{n} of {total} rows lose tokens at {most}.", n=words.count(found.n_cut), total=total, most=most)

    def refresh(self) -> None:
        """Estimate the draft as it is now."""
        self._job = self._make_job()
        self.now = self.problem = None
        if self._job is not None:
            self.machine = self._look_at_machine()
            self._job = replace(self._job, training=estimate.settle_batch(self._job, self.machine)[0])
            self.now = estimate.estimate(self._job, self.machine)
            found = self._result()
            if isinstance(found, Estimated):
                # The worker has counted the rows, those of files of their own too.
                self._job = replace(self._job, parts=(found.n_train, found.n_validation, found.n_test))
                self.now = estimate.measured(self._job, found.peak_bytes, found.n_shapes, Pace(**found.pace))
            elif found is not None:
                self.problem = found
        self.changed.emit()

    def want(self, on: bool) -> None:
        """Begin to probe when the person has been calm for a while, or leave it."""
        self.is_wanted = on
        if on:
            self._timer.start(CALM_MS)
        else:
            self._timer.stop()
            if self.is_measuring:
                self._store.probes.stop()

    def _follow(self, part: str) -> None:
        probes = self._store.probes
        if probes.is_at("estimate") and self._spec() != probes.spec.train:
            probes.stop()
        self._count_tokens()
        self.refresh()
        if self.is_wanted:
            self._timer.start(CALM_MS)

    def _count_tokens(self) -> None:
        draft = self._store.draft
        read = [draft.columns.get(role.id) for role in task_of(draft.task).roles if role.is_input and not role.is_gold]
        there = draft.table.table.column_names if draft.table is not None else []
        columns = [column for column in read if column in there]
        if not columns:
            self._lengths = self._counted = None
            return
        wanted = (draft.table.content_hash, *columns)
        if wanted == self._counted:
            return
        self._counted, self._lengths = wanted, None
        texts = [draft.table.table[column] for column in columns]

        def show(lengths: np.ndarray) -> None:
            self._lengths = lengths
            self.refresh()

        background(lambda: sum(map(tokens_of, texts)), show, self._store.fail, self, key="tokens")

    def _spec(self) -> TrainSpec | None:
        try:
            return None if self._store.busy else self._store.draft.spec()
        except Failure:
            return None

    def _result(self) -> Estimated | Problem | None:
        spec = self._spec()
        return self._store.probes.result(spec) if spec is not None else None

    def _make_job(self) -> Job | None:
        draft, spec = self._store.draft, self._spec()
        if spec is None or self._lengths is None or draft.model_info is None:
            return None
        training: TrainingSpec = spec.training
        shares = [p if isinstance(p, int | float) else 0.0 for p in (draft.validation, draft.test)]
        n_rows = len(self._lengths)
        n_train = max(1, round(n_rows * (1 - sum(shares))))
        parts = (n_train, *(round(n_rows * share) for share in shares))
        most = min(training.max_length, draft.model_info.max_positions or training.max_length)
        # Every how-manieth row has the lengths of the whole, the longest included.
        chosen = np.linspace(0, n_rows - 1, min(n_train, _MOST_LENGTHS)).round().astype(int)
        lengths = np.minimum(np.sort(self._lengths)[chosen], most)
        keeps = estimate.keeps_frozen(spec.method)
        pieces = draft.trainable()
        width = task_of(draft.task).output_width(draft.model_info)
        return Job(pieces, draft.model_info.n_heads, lengths, parts, draft.method["kind"], training, keeps, width)

    def _look_at_machine(self) -> Machine:
        from studio import supervisor

        known, asked = self._store.settings.machine, self._job.training.precision
        free = psutil.virtual_memory().available + _SPARE_BYTES * supervisor.has_spare(self._store.workspace)
        return Machine(
            free_memory=known.gpu_bytes or free,
            free_disk=free_bytes(self._store.workspace),
            precision=known.precision if asked == "auto" else asked,
            speed=known.speed,
            is_gpu=bool(known.gpu_bytes),
        )

    def _probe(self) -> None:
        """Measure the draft, where nobody else needs the processor; else look again later."""
        from studio import supervisor

        store = self._store
        spec = self._spec()
        if not (self.is_wanted and store.probes.are_automatic and spec is not None and self._job is not None):
            return
        if store.probes.is_busy or store.probes.result(spec) is not None:
            return
        working = [s for s in store.runs.values() if s.is_active and (s.kind, s.phase) != ("inspect", "ready")]
        if working or not (supervisor.has_spare(store.workspace) or psutil.cpu_percent() < _IDLE_PERCENT):
            self._timer.start(_LOOK_AGAIN_MS)
            return
        store.probes.begin("estimate", spec)

    def _take(self) -> None:
        probes = self._store.probes
        found = probes.state.estimated if probes.state is not None else None
        known = (probes.is_busy, self.is_measuring, found)
        if known == self._known:
            return  # it said something on its way
        self._known = known
        if found is not None and not probes.is_busy and self._job is not None:
            self._learn(found)
        self.refresh()
        if self.is_wanted and not probes.is_busy and not self._timer.isActive() and self._result() is None:
            self._timer.start(_LOOK_AGAIN_MS)

    def _learn(self, found: Estimated) -> None:
        """Remember what a probe tells of the machine, for the formula."""
        if self._result() is not found or not estimate.is_known(self._job):
            return
        known = self._store.settings.machine
        plain = Machine(0, 0, found.precision, is_gpu=found.device == "cuda")
        pace = Pace(**found.pace)
        by_formula = estimate.estimate(self._job, plain).step_seconds
        step = pace.batch * self._job.training.gradient_accumulation_steps + pace.step
        facts = known.model_copy(
            update={
                "precision": found.precision if self._job.training.precision == "auto" else known.precision,
                "speed": round(float(np.clip(step / by_formula, 0.001, 1000)), 3),
                "gpu_bytes": found.free_bytes if found.device == "cuda" else 0,
            }
        )
        if facts != known:
            self._store.change_settings(machine=facts.model_dump())


def tokens_of(texts: Any) -> np.ndarray:
    """Return about how many tokens each text of an Arrow column has, without its tokenizer.

    Words of letters take a token for four to five bytes; letters beyond ASCII, such as those of Chinese, one each.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = texts.cast(pa.large_string())
    n_bytes = pc.fill_null(pc.binary_length(column), 0).to_numpy().astype(float)
    n_letters = pc.fill_null(pc.utf8_length(column), 0).to_numpy().astype(float)
    beyond = (n_bytes - n_letters) / 2
    return (2 + np.maximum(0, n_letters - beyond) / 4.5 + beyond).round().astype(int)
