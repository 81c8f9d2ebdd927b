import csv
import io
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproof.runtime.inference.formats import csv_header, csv_line, json_line
from edgeproof.runtime.inference.results import BadFrame, Prediction, Score
from edgeproof.runtime.records import encode

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
SHARE = st.floats(0, 1)
SCORES = st.lists(st.builds(Score, st.integers(0, 999), TEXT, SHARE), min_size=3, max_size=3)
ROWS = SCORES.map(lambda scores: {"top": encode(scores)})
PREDICTIONS = st.builds(Prediction, TEXT, st.integers(0), SHARE, ROWS, SHARE, TEXT, st.booleans())
BAD = st.builds(BadFrame, TEXT, st.integers(0), SHARE, TEXT)


@settings(max_examples=40)
@given(st.one_of(PREDICTIONS, BAD))
def test_a_json_line_is_one_object_on_one_line(result):
    line = json_line(result)
    assert len(line.split("\n")) == 1
    value = json.loads(line)
    assert value["source"] == result.source
    assert ("error" in value) == isinstance(result, BadFrame)


@settings(max_examples=40)
@given(st.lists(st.one_of(PREDICTIONS, BAD), max_size=5))
def test_a_table_says_what_the_results_say(results):
    text = "\n".join([csv_header(3), *(csv_line(result, 3) for result in results)]) + "\n"
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == len(results)
    for row, result in zip(rows, results, strict=True):
        assert (row["source"], row["frame"]) == (result.source, str(result.frame))
        if isinstance(result, BadFrame):
            assert (row["error"], row["label_1"]) == (result.error, "")
        else:
            assert [row[f"label_{rank}"] for rank in (1, 2, 3)] == [score.label for score in result.top]
            assert row["fallback"] == str(result.fallback).lower()
            assert float(row["probability_3"]) == result.top[2].probability


def test_an_answer_that_is_no_list_of_classes_is_json_in_one_column():
    areas = {"areas": [{"index": 1, "label": "a, b", "share": 0.5}]}
    result = Prediction("street.png", 0, 0.0, areas, 1.0)
    bad = BadFrame("gone.png", 1, 0.0, "not there")
    text = "\n".join([csv_header(0), csv_line(result, 0), csv_line(bad, 0)]) + "\n"
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert json.loads(rows[0]["answer"]) == areas
    assert (rows[1]["answer"], rows[1]["error"]) == ("", "not there")
    assert json.loads(json_line(result))["areas"] == areas["areas"]
