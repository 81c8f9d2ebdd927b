import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.runtime.bundle.shapes import fits

SIDES = st.lists(st.integers(0, 9), max_size=5)


@given(SIDES, st.data())
def test_a_shape_fits_itself_with_any_of_its_sides_left_open(shape, data):
    opened = [data.draw(st.sampled_from([side, "n", None])) for side in shape]
    assert fits(opened, shape)


@pytest.mark.parametrize(
    ("declared", "found"),
    [((1, 3), (1,)), ((1,), (1, 3)), (("n", 3), (7, 4)), ((None, 3), (3, 1)), ((), (1,))],
)
def test_another_rank_or_a_fixed_side_that_differs_does_not(declared, found):
    assert not fits(declared, found)
