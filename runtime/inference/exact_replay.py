"""A replay in float32 without TF32, in a process of its own.

    NVIDIA_TF32_OVERRIDE=0 python -m edgeproof.runtime.exact_replay   (a job on stdin, its result on stdout)

NVIDIA's libraries read the variable when they are loaded and keep its value, so exact and fast engines can
never share a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from ..bundle.bundle import Bundle
from ..errors import EdgeproofError, ProofError
from ..providers import tf32
from ..providers.request import ProviderRequest
from ..records import decode, encode
from .verification import Replay, replay

COMMAND = (sys.executable, "-m", __name__)


@dataclass(frozen=True)
class ReplayJob:
    """What the child process must replay."""

    bundle: str
    request: ProviderRequest


@dataclass(frozen=True)
class ReplayResult:
    """What the child process found, or why it found nothing."""

    replay: Replay | None = None
    problem: str = ""


def replay_in_child(bundle: Bundle, request: ProviderRequest, command: Sequence[str] = COMMAND) -> Replay:
    """Replay the golden inputs in a process that was started without TF32.

    Args:
        bundle: the bundle, which the child opens and verifies anew.
        request: where and how, with `exact` set.
        command: starts the child.

    Raises:
        ProofError: the child could not replay them, or ended without an result.
    """
    job = json.dumps(encode(ReplayJob(str(bundle.folder.absolute()), request)))
    done = subprocess.run(  # noqa: S603 - our own module
        list(command), input=job, capture_output=True, text=True, env={**os.environ, **tf32.FORBIDDEN}
    )
    try:
        result = decode(ReplayResult, json.loads(done.stdout))
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        result = ReplayResult(problem=f"the process ended with status {done.returncode}: {last}")
    if result.replay is None:
        raise ProofError(
            "Float32 could not be replayed without TF32.",
            got=result.problem,
            todo="edgeproof doctor",
        )
    return result.replay


def main() -> None:
    """Carry out the job on stdin."""
    job = decode(ReplayJob, json.loads(sys.stdin.read()))
    try:
        result = ReplayResult(replay(Bundle.open(job.bundle), job.request))
    except EdgeproofError as error:
        result = ReplayResult(problem=str(error))
    print(json.dumps(encode(result)))


if __name__ == "__main__":
    main()
