import pytest

from edgeproof.runtime import errors
from edgeproof.runtime.errors import EdgeproofError, InputError, MissingDependency, ProofError, gist


def test_message_alone_is_one_line():
    assert str(EdgeproofError("It went wrong.")) == "It went wrong."


def test_details_follow_the_message_and_empty_ones_are_left_out():
    error = EdgeproofError("It went wrong.", wanted="a cat", got="a dog", todo="feed\nthe dog")
    lines = str(error).splitlines()
    assert [line.split() for line in lines] == [
        ["It", "went", "wrong."],
        ["wanted:", "a", "cat"],
        ["got:", "a", "dog"],
        ["to", "do:", "feed"],
        ["the", "dog"],
    ]
    assert lines[4].index("the") == lines[3].index("feed")


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("BundleError", 2),
        ("ModelError", 2),
        ("WeightsError", 2),
        ("DataError", 2),
        ("ImageError", 2),
        ("OutputError", 2),
        ("ExportError", 1),
        ("ParityError", 1),
        ("PlacementError", 1),
    ],
)
def test_exit_status_tells_bad_input_from_a_failed_proof(kind, status):
    error = getattr(errors, kind)("message")
    assert error.exit_status == status
    assert isinstance(error, InputError if status == 2 else ProofError)


def test_missing_dependency_says_what_to_install():
    error = MissingDependency("torch", "export", "Training")
    assert error.exit_status == 2
    assert "Training needs torch" in str(error)
    assert 'pip install "edgeproof[export]"' in str(error)


def test_gist_is_the_kind_and_first_line_of_the_innermost_cause():
    inner = KeyError("\n\nthe cause\nand more")
    outer = RuntimeError("a page")
    outer.__cause__ = ValueError("another page")
    outer.__cause__.__cause__ = inner
    assert gist(ValueError("\n  \nfirst\nsecond")) == "ValueError: first"
    assert gist(outer).startswith("KeyError: ")
    assert gist(ValueError()) == "ValueError: no message"
    assert len(gist(ValueError("x" * 10_000))) < 400
