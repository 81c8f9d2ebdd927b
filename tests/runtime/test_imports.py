import json
import os
import subprocess
import sys

import pytest

# What only the floors above need: on a device none of it is installed.
ABSENT = [
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "onnx_ir",
    "onnxsim",
    "safetensors",
    "sklearn",
    "rich",
]

WITHOUT = f"""
import json
import sys

ABSENT = {ABSENT!r}


class Without:
    '''An import finder that does not find what is absent.'''

    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else self.finder.find_spec(name, path, target)


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]


def present(names):
    return sorted(set(names) & {{name.partition(".")[0] for name in sys.modules}})
"""


def python(code, *arguments):
    """Run code in a process where the packages of the floors above cannot be imported."""
    command = [sys.executable, "-c", WITHOUT + code, *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def edgeproof(*arguments):
    return python("from edgeproof.export.cli import main; main()", *arguments)


@pytest.mark.parametrize("package", ["torch", "onnx", "sklearn"])
def test_the_absent_packages_are_absent(package):
    done = python(f"import {package}")
    assert done.returncode == 1
    assert f"No module named '{package}'" in done.stderr


def test_the_ground_floor_imports_without_them():
    done = python("import edgeproof.runtime; print(json.dumps(present(ABSENT)))")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_no_module_of_the_ground_floor_needs_them():
    code = """
import importlib, pkgutil
import edgeproof.runtime
names = [module.name for module in pkgutil.walk_packages(edgeproof.runtime.__path__, "edgeproof.runtime.")]
for name in names:
    importlib.import_module(name)
print(json.dumps([len(names), present(ABSENT)]))
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    count, present = json.loads(done.stdout)
    assert count >= 14
    assert present == []


def test_where_they_are_installed_the_command_does_not_load_them():
    code = f"""
import json, sys
import edgeproof.runtime, edgeproof.export.cli
print(json.dumps(sorted(set({ABSENT!r} + ["onnxruntime"]) & set(sys.modules) - {{"rich"}})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_run_labels_pictures_without_them(bundle_folder, paint, tmp_path):
    done = edgeproof("run", bundle_folder, paint(tmp_path / "red.jpg", "red"))
    assert done.returncode == 0, done.stderr
    assert "provider cpu" in done.stderr
    assert json.loads(done.stdout)["top"][0]["label"] == "red"


def test_verify_replays_without_them(bundle_folder):
    done = edgeproof("verify", bundle_folder, "--provider", "cpu")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["ok", "ok"]


@pytest.mark.parametrize("arguments", [["models"], ["export", "mobilenet_v3"]])
def test_the_upper_floors_say_what_to_install(arguments):
    done = edgeproof(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "needs torch, which is not installed" in done.stderr
    assert 'pip install "edgeproof[export]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_every_public_name_is_there_whichever_module_came_first():
    code = (
        "import importlib, edgeproof.runtime as runtime\n"
        "for name in set(runtime._HOME.values()): importlib.import_module(f'edgeproof.runtime.{name}')\n"
        "assert set(runtime.__all__) == set(runtime._HOME)\n"
        "assert all(callable(getattr(runtime, name)) for name in runtime.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error():
    import edgeproof.runtime

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        edgeproof.runtime.Nothing  # noqa: B018
