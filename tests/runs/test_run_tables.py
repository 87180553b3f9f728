"""What is read back of a run: its domains as text, and its users."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from adasparse_cli.runs.run_tables import extreme_domains, read_domain_rows
from adasparse_cli.studies.comparison import row_clusters


def test_keys_of_domains_are_text_whatever_they_look_like(tmp_path: Path) -> None:
    keys = ["007", "7", "0060", "60", "1e3", "true", None, ""]
    table = pl.DataFrame({"domain": range(len(keys)), "country": keys, "train_rows": 50}).with_columns(
        test_rows=50, test_positives=25, test_auc=0.5, test_log_loss=0.7, test_calibration=1.0
    )
    table.write_csv(tmp_path / "domains.csv")
    assert read_domain_rows(tmp_path / "domains.csv")["country"].to_list() == keys
    assert {row["domain"] for row in extreme_domains(tmp_path, 9)} == {
        *(key for key in keys if key is not None),
        "missing",
    }


def test_rows_without_a_user_are_resampled_one_by_one() -> None:
    found = row_clusters(np.array([3, -1, 0, -1, 3]))
    assert len(np.unique(found)) == 4
    assert found[[0, 2, 4]].tolist() == [3, 0, 3]
