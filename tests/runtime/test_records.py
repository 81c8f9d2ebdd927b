import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproof.runtime.records import decode, encode


@dataclass(frozen=True)
class Leaf:
    name: str
    weight: float
    count: int = 3
    note: str | None = None


@dataclass(frozen=True)
class Tree:
    kind: Literal["oak", "elm"]
    alive: bool
    leaves: tuple[Leaf, ...]
    size: tuple[int, int]
    by_name: Mapping[str, Leaf]
    extra: Mapping[str, Any]
    height: int | tuple[int, int] | None = None


finite = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.builds(Leaf, st.text(), finite, st.integers(), st.none() | st.text())
trees = st.builds(
    Tree,
    kind=st.sampled_from(["oak", "elm"]),
    alive=st.booleans(),
    leaves=st.lists(leaves, max_size=3).map(tuple),
    size=st.tuples(st.integers(), st.integers()),
    by_name=st.dictionaries(st.text(), leaves, max_size=3),
    extra=st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text(), max_size=3),
    height=st.none() | st.integers() | st.tuples(st.integers(), st.integers()),
)


def an_oak(**changes):
    tree = Tree("oak", True, (Leaf("a", 1.5),), (2, 3), {"b": Leaf("b", 2.5)}, {"any": [1, {"x": None}]})
    return {**encode(tree), **changes}


@given(trees)
@settings(max_examples=60)
def test_what_is_encoded_decodes_to_the_same(tree):
    assert decode(Tree, json.loads(json.dumps(encode(tree)))) == tree


def test_encode_turns_tuples_into_lists_and_records_into_objects():
    assert encode(Leaf("a", 1.5)) == {"name": "a", "weight": 1.5, "count": 3, "note": None}
    assert encode({"pair": (1, (2, 3))}) == {"pair": [1, [2, 3]]}


def test_unknown_keys_are_ignored():
    assert decode(Leaf, {"name": "a", "weight": 1.0, "from_the_future": [1]}) == Leaf("a", 1.0)


def test_a_missing_key_takes_its_default():
    assert decode(Leaf, {"name": "a", "weight": 1.0}).count == 3


def test_an_integer_is_taken_where_a_float_is_wanted():
    weight = decode(Leaf, {"name": "a", "weight": 2}).weight
    assert weight == 2.0
    assert isinstance(weight, float)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "ash"}, "kind must be 'oak' or 'elm', not 'ash'"),
        ({"kind": ["oak"]}, "kind must be 'oak' or 'elm', not ['oak']"),
        ({"alive": 1}, "alive must be bool, not 1"),
        ({"alive": None}, "alive must be bool, not None"),
        ({"leaves": {}}, "leaves must be a list, not {}"),
        ({"leaves": [{"name": "a", "weight": 1}, 5]}, "leaves[1] must be an object, not 5"),
        ({"leaves": [{"name": "a", "weight": "heavy"}]}, "leaves[0].weight must be float, not 'heavy'"),
        ({"leaves": [{"name": "a", "weight": True}]}, "leaves[0].weight must be float, not True"),
        ({"leaves": [{"name": "a", "weight": 1, "note": 4}]}, "leaves[0].note must be str, not 4"),
        ({"leaves": [{"weight": 1}]}, "leaves[0].name is missing"),
        ({"size": [1]}, "size must be a list of 2, not [1]"),
        ({"size": [1, 2.0]}, "size[1] must be int, not 2.0"),
        ({"size": [True, 2]}, "size[0] must be int, not True"),
        ({"by_name": []}, "by_name must be an object, not []"),
        ({"by_name": {"b": {"name": 1, "weight": 1}}}, "by_name.b.name must be str, not 1"),
        ({"height": "tall"}, "height must be int, not 'tall'"),
    ],
)
def test_the_first_wrong_value_is_named_with_its_path(changes, message):
    with pytest.raises(ValueError, match=r"must be|is missing") as caught:
        decode(Tree, an_oak(**changes))
    assert str(caught.value) == message


@pytest.mark.parametrize("key", ["kind", "alive", "leaves", "size", "by_name", "extra"])
def test_a_missing_key_is_named(key):
    value = an_oak()
    del value[key]
    with pytest.raises(ValueError, match=f"^{key} is missing$"):
        decode(Tree, value)


@pytest.mark.parametrize("value", [None, [], "text", 1, True])
def test_a_record_must_be_an_object(value):
    with pytest.raises(ValueError, match="the value must be an object"):
        decode(Leaf, value)


def test_an_integer_too_large_for_a_float_is_refused():
    with pytest.raises(ValueError, match="weight must be a float"):
        decode(Leaf, {"name": "a", "weight": 10**400})


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(ValueError, match="weight must be float") as caught:
        decode(Leaf, {"name": "a", "weight": "x" * 10_000})
    assert len(str(caught.value)) < 120


def test_a_refusal_by_the_record_itself_names_its_path():
    @dataclass(frozen=True)
    class Even:
        number: int

        def __post_init__(self):
            if self.number % 2:
                raise ValueError("the number is odd")

    @dataclass(frozen=True)
    class Pair:
        left: Even
        right: Even

    with pytest.raises(ValueError, match=r"^right: the number is odd$"):
        decode(Pair, {"left": {"number": 2}, "right": {"number": 3}})
