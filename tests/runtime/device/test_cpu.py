import pytest

from edgeproof.runtime.device.cpu import has_vnni

X86 = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sse2 {}\nbugs\t\t: spectre_v1\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm\nCPU implementer\t: 0x41\n"


@pytest.fixture
def root(tmp_path):
    """root(text): a file system whose kernel tells this of its processors."""

    def make(text):
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "cpuinfo").write_text(text)
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("avx2", False),
        ("avx2 avx512f avx512bw", False),
        ("avx2 avx512f avx512_vnni", True),
        ("avx2 avx_vnni", True),
        ("avx2 not_avx_vnni_either", False),
    ],
)
def test_x86_processors_tell_by_their_flags(root, flags, expected):
    assert has_vnni(root(X86.format(flags))) is expected


def test_other_processors_have_none(root):
    assert not has_vnni(root(ARM))


def test_a_kernel_that_does_not_tell_promises_nothing(tmp_path):
    assert not has_vnni(tmp_path)
