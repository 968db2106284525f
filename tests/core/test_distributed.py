"""Two processes train as one: FSDP2, tensor parallel, DDP, ZeRO, and checkpoints of torch.distributed.

All cases run in one pair of processes, `two_processes.py`: to start one costs more than all of its steps.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.fsdp
from conformance import every_optimizer

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and torch.distributed.is_gloo_available()), reason="torch is without gloo"
)

#: Before torch 2.6 it shards on a GPU alone.
fully_shard = pytest.mark.skipif(
    not hasattr(torch.distributed.fsdp, "fully_shard"), reason="this torch has no fully_shard on a CPU"
)
PATHS = ("default", "foreach", "fused")
SECONDS = 300


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What each process found, by case: a distance, or the text of what was raised."""
    folder = tmp_path_factory.mktemp("two")
    script = Path(__file__).with_name("two_processes.py")
    logs = [folder / f"{rank}.log" for rank in (0, 1)]
    processes = []
    for rank, log in enumerate(logs):
        with log.open("w") as out:
            command = [sys.executable, script, str(rank), folder]
            processes.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT))
    try:
        codes = [process.wait(SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [0, 0], "".join(log.read_text()[-2000:] for log in logs)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in (0, 1)]


def check(found: Any, case: Any) -> None:
    for of_rank in found:
        assert isinstance(of_rank[case], float), of_rank[case]
        assert of_rank[case] <= 1e-6


@fully_shard
@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("path", PATHS)
@every_optimizer
def test_fault_82_sharded_parameters(found: Any, name: str, path: str, size: Any) -> None:
    check(found, f"FSDP2, {name}, {path}, {size}")


@pytest.mark.parametrize("wrapper", ["tensor parallel", "DDP", "ZeRO"])
@pytest.mark.parametrize("path", PATHS)
@every_optimizer
def test_fault_82_two_processes_are_as_one(found: Any, name: str, path: str, wrapper: Any) -> None:
    check(found, f"{wrapper}, {name}, {path}")


@fully_shard
@pytest.mark.parametrize("more", ["capturable", "maximize, weight_decay"])
@every_optimizer
def test_fault_82_flags_on_sharded_parameters(found: Any, name: str, more: Any) -> None:
    check(found, f"FSDP2, {name}, {more}")


@pytest.mark.parametrize("path", PATHS)
@every_optimizer
def test_fault_82_gradients_laid_out_otherwise_and_several_meshes(found: Any, name: str, path: str) -> None:
    check(found, f"otherwise laid out, {name}, {path}")


@fully_shard
@pytest.mark.parametrize("kind", ["checkpoint", "checkpoint of the whole"])
@pytest.mark.parametrize("path", PATHS)
@every_optimizer
def test_fault_82_checkpoints_of_sharded_state(found: Any, name: str, path: str, kind: str) -> None:
    if (name, kind) == ("GD", "checkpoint of the whole"):
        pytest.skip("torch refuses the whole state of an optimizer without any, as of its SGD")
    check(found, f"{kind}, {name}, {path}")


@fully_shard
@pytest.mark.parametrize("path", PATHS)
@every_optimizer
def test_fault_83_sharded_and_plain_parameters_in_one_group(found: Any, name: str, path: str) -> None:
    check(found, f"mixed with plain, {name}, {path}")


@fully_shard
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("path", PATHS)
@every_optimizer
def test_fault_108_sharded_half_precision(found: Any, name: str, path: str, dtype: torch.dtype) -> None:
    check(found, f"{dtype}, {name}, {path}")
