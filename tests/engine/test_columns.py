"""The columns of a spec in a file of another kind than the one that it was written for."""

from pathlib import Path

import pytest

from studio.core.reasons import Failure
from studio.engine.data import column_names, open_columns
from studio.sources.tables import source_for


def test_columns_given_by_number_are_found_in_files_that_name_theirs(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("one text\nanother one\n")
    (tmp_path / "rows.tsv").write_text("one text\t1\nanother one\t0\n")
    by_number = {"text": 0, "label": 1}
    table = open_columns(source_for(tmp_path / "lines.txt"), by_number, tmp_path).table
    assert column_names({"text": 0}, table) == {"text": "text"}
    with pytest.raises(Failure, match="There is no column 1"):
        column_names(by_number, table)
    table = open_columns(source_for(tmp_path / "rows.tsv"), by_number, tmp_path).table
    assert column_names(by_number, table) == {"text": "0", "label": "1"}
