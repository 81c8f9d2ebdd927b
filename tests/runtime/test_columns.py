"""Tables as plain text."""

from edgeproof.runtime.columns import columns

ROWS = [("model", "KiB"), ("fp32", "13662"), ("int8", "")]


def test_cells_are_flushed_right_in_columns_as_wide_as_their_widest():
    assert columns(ROWS) == ["model    KiB", " fp32  13662", " int8       "]


def test_a_rule_stands_behind_the_heading():
    assert columns(ROWS, heading=1)[1] == "-----  -----"


def test_nothing_makes_no_line():
    assert columns([]) == []
