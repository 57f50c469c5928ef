"""One inspection as one file: the captures of all states as `capture.save` writes them, and what was shown of them.

The file (`name.attune-look`) is a zip whose members are stored, not compressed: first `mimetype`, by which it is known
even if it is cut off, for each state a folder with `tokens.json`, `checks.json`, `attention.npz`, and for long texts
`layers.json` and its arrays, and `look.json` (a `LookFacts`). What is opened is believed only as far as it can be
checked again: names and sizes before anything is written, arrays by their headers, the maps by their sums.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from studio import __version__
from studio.attention import maps
from studio.attention.maps import SavedCapture
from studio.attention.qk import INDEX
from studio.attention.recheck import is_causal, rechecked, row_error
from studio.core.disk import can_not_write, free_bytes, no_room
from studio.core.files import TemporaryFolder, renamed
from studio.core.reasons import Failure

SUFFIX, FORMAT, VERSION, FACTS = ".attune-look", "attune-look", 1, "look.json"
TYPE_NAME, TYPE = "mimetype", "application/x-attune-look"
SIGNATURE = (TYPE_NAME + TYPE).encode()  # behind the 30 bytes of the first member's header
MOST_JSON_BYTES, MOST_MEMBERS, CHUNK_BYTES = 64 << 20, 20_000, 4 << 20
_FIXED = ("tokens.json", "checks.json", "attention.npz")
_MEMBER = re.compile(r"(before|after)/(tokens\.json|checks\.json|layers\.json|attention\.npz|[\w ]+-[\w -]+\.npy)")
_ARRAY = re.compile(r"[\w -]+\.npy")
_DTYPES = ("float16", "float32", "float64", "bool")


class LookFacts(BaseModel):
    """What `look.json` holds; names that a later version adds are left alone.

    causal: by state and kind of attention, whether no query of a layer looks ahead. partial: by state, whether rows may
    sum to less than 1 (a sink took the rest). step: of a training, after which it was seen; before it is `first_step`.
    names: what the states are called, where another model stands before.
    digests: SHA-256 by member. view: what the window showed.
    """

    format: Literal["attune-look"] = FORMAT
    version: int = VERSION
    attune: str = __version__
    saved: float = 0.0
    subject: str = ""
    text: str = ""
    fields: dict[str, str] = {}
    probabilities: dict[str, dict[str, float]] = {}
    gold: str = ""
    said: dict[str, str] = {}
    answers: str = ""
    step: int | None = None
    first_step: int = 0
    names: dict[str, str] = {}
    states: list[Literal["before", "after"]] = Field(min_length=1, max_length=2)
    causal: dict[str, dict[str, list[bool]]] = {}
    partial: dict[str, bool] = {}
    digests: dict[str, str] = {}
    view: dict[str, Any] = {}


class TokenFacts(BaseModel):
    """What of `tokens.json` is read when an inspection is opened; each list has a value a token, of its side."""

    tokens: list[str] = Field(min_length=1)
    ids: list[int] | None = None
    special: list[bool] | None = None
    word_ids: list[int | None] | None = None
    segments: list[int | None] | None = None
    offsets: list[tuple[int, int]] | None = None
    mask_token: str | None = None
    decoder_tokens: list[str] | None = None
    decoder_ids: list[int] | None = None
    decoder_special: list[bool] | None = None


@dataclass(frozen=True, eq=False)
class SavedLook:
    """An opened inspection: its facts, the captures by state with checks made anew, and where their files lie.

    `home` is the folder that they were unpacked into: it goes when nothing holds it any more.
    """

    facts: LookFacts
    captures: dict[str, SavedCapture]
    home: TemporaryFolder

    @property
    def directories(self) -> dict[str, str]:
        """The folder of each state."""
        return {state: str(Path(self.home.name) / state) for state in self.captures}


def save_look(path: Path, facts: LookFacts, directories: Mapping[str, str | Path]) -> None:
    """Write the captures in `directories` (by state) and the facts as one file, by rename.

    Raises Failure: "look-gone" where a capture is no longer there, "no-room", "workspace-unwritable".
    """
    try:
        captures = {state: maps.load(Path(directory)) for state, directory in directories.items()}
        members = {
            f"{state}/{name}": Path(directory) / name
            for state, directory in directories.items()
            for name in _files_of(Path(directory))
        }
        sizes = sum(file.stat().st_size for file in members.values())
    except (OSError, ValueError, KeyError) as error:
        raise Failure("look-gone") from error
    facts = facts.model_copy(
        update={
            "states": list(captures),
            "causal": {state: is_causal(capture) for state, capture in captures.items()},
            "partial": {state: row_error(capture) > 1e-3 for state, capture in captures.items()},
            "saved": time.time(),
        }
    )
    try:
        if path.parent.is_dir() and free_bytes(path.parent) < sizes:
            raise no_room(path.parent)
        with renamed(path, shared=True) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(TYPE_NAME, TYPE)
            digests = {name: _add(archive, name, member) for name, member in members.items()}
            facts = facts.model_copy(update={"digests": digests})
            archive.writestr(FACTS, facts.model_dump_json(indent=1))
    except OSError as error:
        raise can_not_write(path, error) from error


def open_look(path: Path) -> SavedLook:
    """Return what `save_look` wrote, with the checks made anew: where maps were changed, `verified` is False.

    Needs room for the maps in the folder for temporary files. Raises Failure: "look-missing", "look-unreadable",
    "look-foreign", "look-damaged", "look-newer", "look-unsafe", "no-room".
    """
    is_ours = False
    try:
        with path.open("rb") as file:
            is_ours = file.read(30 + len(SIGNATURE))[30:] == SIGNATURE
        with zipfile.ZipFile(path) as archive:
            facts, members = _read_facts(archive, path)
            home = TemporaryFolder("attune-look-")
            digests = _unpack(archive, members, Path(home.name))
        captures = {state: _read_capture(Path(home.name) / state) for state in facts.states}
        if len({_shapes(capture) for capture in captures.values()}) > 1:
            raise ValueError("before and after have maps of different shapes")
        checked = {
            state: replace(
                capture,
                checks=rechecked(
                    capture,
                    facts.causal.get(state, {}),
                    facts.partial.get(state, False),
                    all(facts.digests.get(name) == d for name, d in digests.items() if name.startswith(state)),
                ),
            )
            for state, capture in captures.items()
        }
    except Failure as failure:
        if is_ours and failure.problem.reason == "look-foreign":  # cut off: it ends within an inner zip
            raise damaged(path, "Its end is missing.") from failure
        raise Failure(failure.problem.reason, **{"path": path.name} | failure.problem.facts) from failure
    except FileNotFoundError as error:
        raise Failure("look-missing", path=str(path)) from error
    except OSError as error:
        raise Failure("look-unreadable", path=str(path), message=error.strerror or str(error)) from error
    except Exception as error:
        # Whatever a file from elsewhere says that is not so ends here, in the words of zipfile, json or numpy.
        if not is_ours:
            raise Failure("look-foreign", path=path.name) from error
        raise damaged(path, _first_line(error)) from error
    return SavedLook(facts, checked, home)


def damaged(path: Path, message: str) -> Failure:
    """Return the failure of a file that is not whole."""
    return Failure("look-damaged", path=path.name, message=message)


# --- writing ---------------------------------------------------------------------------------------------------


def _files_of(directory: Path) -> list[str]:
    """Return the names of the files of a capture."""
    index = directory / INDEX
    if not index.is_file():
        return list(_FIXED)
    layers = json.loads(index.read_text(encoding="utf-8"))
    parts = ("map", "query", "key", "lse", "keys", "table")
    found = {layer.get(part) for kind in layers.values() for layer in kind for part in parts}
    return [*_FIXED, INDEX, *sorted(name for name in found if name)]


def _add(archive: zipfile.ZipFile, name: str, file: Path) -> str:
    """Add a file and return its digest. Raises Failure "look-gone" where it is no longer there."""
    digest = hashlib.sha256()
    try:
        source = file.open("rb")
    except OSError as error:  # the worker that wrote it keeps the newest looks only
        raise Failure("look-gone") from error
    with source, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as target:
        while chunk := source.read(CHUNK_BYTES):
            digest.update(chunk)
            target.write(chunk)
    return digest.hexdigest()


# --- opening ---------------------------------------------------------------------------------------------------


def _read_facts(archive: zipfile.ZipFile, path: Path) -> tuple[LookFacts, list[zipfile.ZipInfo]]:
    """Return the facts and the members of a file in which nothing is but what belongs there."""
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if FACTS not in names:
        raise Failure("look-foreign", path=path.name)
    for info in infos:
        if info.filename not in (FACTS, TYPE_NAME) and not _MEMBER.fullmatch(info.filename):
            raise Failure("look-unsafe", path=path.name, message=f"It holds “{info.filename[:80]}”.")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
            raise Failure("look-unsafe", path=path.name, message="It is compressed or locked.")
        if info.filename.endswith(".json") and info.file_size > MOST_JSON_BYTES:
            raise Failure("look-unsafe", path=path.name, message=f"{info.filename} is too large.")
    # Members that lie over each other could unpack to more than there is.
    too_much = sum(info.file_size for info in infos) > path.stat().st_size
    if len(set(names)) != len(names) or len(names) > MOST_MEMBERS or too_much:
        raise Failure("look-unsafe", path=path.name, message="It claims to hold more than it does.")
    try:
        found = json.loads(archive.read(FACTS).decode("utf-8"))
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise Failure("look-foreign", path=path.name)
        if isinstance(found.get("version"), int) and found["version"] > VERSION:
            raise Failure("look-newer", path=path.name, version=str(found.get("attune", ""))[:40])
        facts = LookFacts.model_validate(found)
    except (ValueError, RecursionError) as error:  # of pydantic, of JSON, of UTF-8
        raise damaged(path, f"{FACTS}: {_first_line(error)}") from error
    missing = [f"{state}/{name}" for state in facts.states for name in _FIXED if f"{state}/{name}" not in names]
    if missing or len(set(facts.states)) != len(facts.states):
        raise damaged(path, f"{', '.join(missing) or FACTS} is missing.")
    return facts, [info for info in infos if info.filename.partition("/")[0] in facts.states]


def _unpack(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], folder: Path) -> dict[str, str]:
    """Write the members into a folder and return their digests; the zip's own sums are checked on the way."""
    needed = sum(info.file_size for info in members)
    if free_bytes(folder) < needed:
        raise no_room(folder)
    digests = {}
    for info in members:
        target, digest = folder / info.filename, hashlib.sha256()
        target.parent.mkdir(exist_ok=True)
        with archive.open(info) as source, target.open("wb") as file:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
        digests[info.filename] = digest.hexdigest()
    return digests


def _read_capture(directory: Path) -> SavedCapture:
    """Return a capture whose arrays and facts fit each other. Raises ValueError, or Failure "look-unsafe"."""
    for file in directory.glob("*.npy"):
        with file.open("rb") as source:
            _check_array(source, file.stat().st_size, file.name)
    with zipfile.ZipFile(directory / "attention.npz") as archive:
        infos = archive.infolist()
        for info in infos:
            stored = info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size
            if not (stored and _ARRAY.fullmatch(info.filename)):
                raise Failure("look-unsafe", message=f"attention.npz holds “{info.filename[:80]}”.")
            with archive.open(info) as source:
                _check_array(source, info.file_size, info.filename)
        if len({info.filename for info in infos}) != len(infos):
            raise Failure("look-unsafe", message="attention.npz holds an array twice.")
    capture = maps.load(directory)
    try:
        facts = TokenFacts.model_validate(capture.facts)
    except ValidationError as error:
        raise ValueError(f"tokens.json: {_first_line(error)}") from error
    n_tokens = len(facts.tokens)
    n_decoded = len(facts.decoder_tokens or [])
    for name in ("ids", "special", "word_ids", "segments", "offsets", "decoder_ids", "decoder_special"):
        n_expected = n_decoded if name.startswith("decoder") else n_tokens
        if (values := getattr(facts, name)) is not None and len(values) != n_expected:
            raise ValueError(f"tokens.json: {len(values)} {name} for {n_expected} tokens")
    kind = "attention" if "attention" in capture.maps else "encoder"
    if kind not in capture.maps or not isinstance(capture.checks, dict):
        raise ValueError("there are no maps")
    for name, values in capture.maps.items():
        _check_shape(name, values)
    if capture.maps[kind].shape[2:] != (n_tokens, n_tokens):
        raise ValueError(f"maps of {capture.maps[kind].shape[2:]} for {n_tokens} tokens")
    for name, n_keys in (("decoder", n_decoded), ("cross", n_tokens)) if n_decoded else ():
        if name not in capture.maps or capture.maps[name].shape[2:] != (n_decoded, n_keys):
            raise ValueError(f"{name}: no maps of {n_decoded} by {n_keys} tokens")
    return capture


def _check_array(source: Any, size: int, name: str) -> None:
    """Refuse an array that holds objects, or whose header claims another size than it has."""
    if np.lib.format.read_magic(source) != (1, 0):
        raise ValueError(f"{name}: a header of another version")
    shape, _, dtype = np.lib.format.read_array_header_1_0(source)
    if dtype.hasobject or dtype.name not in _DTYPES:
        raise Failure("look-unsafe", message=f"{name} holds {dtype.name} instead of numbers.")
    n_values = 1
    for length in shape:
        n_values *= max(int(length), 0)
    if any(length < 0 for length in shape) or source.tell() + n_values * dtype.itemsize != size:
        raise ValueError(f"{name}: {shape} values do not fit {size} bytes")


def _shapes(capture: SavedCapture) -> tuple[tuple[str, tuple[int, ...]], ...]:
    return tuple((kind, tuple(values.shape)) for kind, values in sorted(capture.maps.items()))


def _check_shape(name: str, values: Any) -> None:
    """Refuse maps that are not [layer, head, query, key], or layers that do not fit each other."""
    layers = values.layers if isinstance(values, maps.Layers) else [values] if values.ndim != 4 else list(values)
    for layer in layers:
        is_map = isinstance(layer, np.ndarray)
        if len(layer.shape) != 3 or layer.shape != layers[0].shape or 0 in layer.shape:
            raise ValueError(f"{name}: a layer of shape {layer.shape}")
        if is_map and layer.dtype.kind != "f":
            raise ValueError(f"{name}: a layer of {layer.dtype}")
        if not is_map:
            n_heads, n_queries, width = layer.query.shape
            fits = layer.key.ndim == 3 and layer.key.shape[2] == width and n_heads % len(layer.key) == 0
            if not fits or layer.lse.shape != (n_heads, n_queries) or not isinstance(layer.scale, int | float):
                raise ValueError(f"{name}: queries and keys that do not fit each other")
            layer.tile(n_heads - 1, slice(n_queries - 1, n_queries), slice(None))  # the mask fits, or numpy says so


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    # Of pydantic the second line names the place.
    return ": ".join(line.strip() for line in lines[1:3] or lines[:1])[:300]
