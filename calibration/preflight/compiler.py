"""The child process that holds NVIDIA's compiler, TensorRT for RTX, which needs neither GPU nor driver.

The compiler is native code: it prints as it likes, and a hostile model may crash it. Both stay in this
process. In its working folder it finds `job.json` and `model.onnx`, and leaves `answer.json`; `preflight`
starts it.
"""

from __future__ import annotations

import importlib
import json
import re
import time
from pathlib import Path
from typing import Any

PACKAGE, NAME = "tensorrt_rtx", "tensorrt-rtx"
JOB, MODEL, ANSWER = "job.json", "model.onnx", "answer.json"
PARSING = re.compile(r"Parsing node: (.*) \[(\w+)\]")
LAYERS = "Layers:\n"  # begins the message that lists what was built; an engine itself loads on a GPU only
LAYER = re.compile(r"^Name: .*?, LayerType: (\w+), Inputs: \[(.*?)\], Constants: ", re.MULTILINE)
NO_WORK = {"shape_call"}


def main() -> None:
    """Carry out the job of the working folder."""
    job = json.loads(Path(JOB).read_text(encoding="utf-8"))
    Path(ANSWER).write_text(json.dumps(answer(job)), encoding="utf-8")


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Parse the model once, and build it for every compute capability of the job.

    Args:
        job: `capabilities`, such as ["86"], and `profile`: for each input with a dynamic batch its smallest,
            usual and largest shape.

    Returns:
        `absent` or `broken` where there is no compiler to ask; else `compiler`, and either `available`, if a
        capability is unknown to it, or `warnings` and `builds`.
    """
    try:
        trt: Any = importlib.import_module(PACKAGE)
    except ModuleNotFoundError as error:
        return {"absent" if error.name == PACKAGE else "broken": str(error)}
    except Exception as error:  # a library that does not load, on a machine that we do not know
        return {"broken": f"{type(error).__name__}: {error}"}
    found = {"compiler": f"{NAME} {trt.__version__}"}
    known = [name[2:] for name in trt.ComputeCapability.__members__ if name.startswith("SM")]
    if not set(job["capabilities"]) <= set(known):
        return {**found, "available": known}
    return {**found, **_compile(trt, Path(MODEL).read_bytes(), job)}


def _compile(trt: Any, model: bytes, job: dict[str, Any]) -> dict[str, Any]:
    log = _make_log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)  # holds the weights: it must live as long as the network
    start = time.perf_counter()
    if not parser.parse(model):
        problems = [_problem(parser.get_error(i)) for i in range(parser.num_errors)]
        seconds = time.perf_counter() - start
        build = {"capability": "", "seconds": seconds, "problems": problems, "bytes": 0}
        return {"warnings": log.warnings, "builds": [build]}
    parsing = time.perf_counter() - start
    builds = []
    for capability in job["capabilities"]:
        log.errors.clear()
        start = time.perf_counter()
        size, problems = _build(trt, builder, network, log, capability, job["profile"])
        seconds = parsing + time.perf_counter() - start
        build = {"capability": capability, "seconds": seconds, "problems": problems, "bytes": size}
        builds.append({**build, **count_layers(log.layers)})
        parsing = 0.0
    return {"warnings": log.warnings, "builds": builds}


def _build(
    trt: Any, builder: Any, network: Any, log: Any, capability: str, profile: dict[str, list[list[int]]]
) -> tuple[int, list[dict[str, Any]]]:
    """Length of the engine in bytes, and what went wrong."""
    log.layers = ""
    try:
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # lists the layers; the size is the same
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{capability}"), 0)
        if profile:
            shapes = builder.create_optimization_profile()
            for name, (smallest, usual, largest) in profile.items():
                shapes.set_shape(name, smallest, usual, largest)
            config.add_optimization_profile(shapes)
        engine = builder.build_serialized_network(network, config)
        if engine is not None:
            return engine.nbytes, []
    except RuntimeError as error:
        log.errors.append(str(error))
    return 0, [{"name": "", "operator": "", "why": "\n".join(log.errors)}]


def count_layers(listed: str) -> dict[str, int]:
    """How many layers of an engine compute, and how many of them read INT8 values.

    Args:
        listed: the compiler's own list of what it built, one layer a line.

    Returns:
        `layers` and `int8_layers`; both 0 where it listed nothing.
    """
    found = [inputs for kind, inputs in LAYER.findall(listed) if kind not in NO_WORK]
    return {"layers": len(found), "int8_layers": sum("Datatype: Int8" in inputs for inputs in found)}


def _problem(error: Any) -> dict[str, Any]:
    return {
        "index": error.node(),
        "name": error.node_name(),
        "operator": error.node_operator(),
        "code": error.code().name,
        "why": error.desc(),
    }


def _make_log(trt: Any) -> Any:
    """A logger that keeps warnings with the node that was being parsed, errors, and the list of layers."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.warnings: list[dict[str, str]] = []
            self.errors: list[str] = []
            self.layers = ""
            self._node = ("", "")

        def log(self, severity: Any, message: str) -> None:
            if severity == trt.ILogger.VERBOSE:
                started = PARSING.fullmatch(message)
                self._node = (started[1], started[2]) if started else self._node
                self.layers = message if message.startswith(LAYERS) else self.layers
            elif severity == trt.ILogger.WARNING:
                name, operator = self._node
                self.warnings.append({"name": name, "operator": operator, "why": message})
            elif severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

    return Log()


if __name__ == "__main__":
    main()
