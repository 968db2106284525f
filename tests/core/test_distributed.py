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
PATHS = ("default", "foreach", "fused", "capturable")
every_path = pytest.mark.parametrize("path", PATHS)
two_paths = pytest.mark.parametrize("path", ["default", "fused"])  # of what takes longest
SECONDS = 1800  # to tell a process that hangs from a busy machine
#: How far two processes may be from one: numbers above 1 relatively, others absolutely.
TOLERANCE = 1e-6


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
        assert of_rank[case] <= TOLERANCE


# A row of the table in `book/distributed.md` is a test of every optimizer with a docstring, its columns are the paths.


@every_path
@every_optimizer
def test_fault_82_replicated_parameters(found: Any, name: str, path: str) -> None:
    """DDP."""
    check(found, f"DDP, {name}, {path}")


@fully_shard
@pytest.mark.parametrize("size", ["even", "uneven"])
@every_path
@every_optimizer
def test_fault_82_sharded_parameters(found: Any, name: str, path: str, size: Any) -> None:
    """FSDP2 (`fully_shard`): shards that are even, uneven or empty."""
    check(found, f"FSDP2, {name}, {path}, {size}")


@fully_shard
@two_paths
@every_optimizer
def test_fault_82_large_sharded_parameters(found: Any, name: str, path: str) -> None:
    """FSDP2: shards of half a million elements."""
    check(found, f"FSDP2, {name}, {path}, large")


@fully_shard
@every_path
@every_optimizer
def test_fault_83_sharded_and_plain_parameters_in_one_group(found: Any, name: str, path: str) -> None:
    """FSDP2 beside plain parameters in one group."""
    check(found, f"mixed with plain, {name}, {path}")


@fully_shard
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@every_path
@every_optimizer
def test_fault_108_sharded_half_precision(found: Any, name: str, path: str, dtype: torch.dtype) -> None:
    """FSDP2 in bfloat16 and float16."""
    check(found, f"{dtype}, {name}, {path}")


@every_path
@every_optimizer
def test_fault_82_tensor_parallel_parameters(found: Any, name: str, path: str) -> None:
    """Tensor parallel, by columns and by rows."""
    check(found, f"tensor parallel, {name}, {path}")


@every_path
@every_optimizer
def test_fault_82_gradients_laid_out_otherwise_and_several_meshes(found: Any, name: str, path: str) -> None:
    """Several meshes in one group, gradients laid out unlike parameters."""
    check(found, f"otherwise laid out, {name}, {path}")


@every_path
@every_optimizer
def test_fault_82_state_that_is_shared_out(found: Any, name: str, path: str) -> None:
    """ZeRO, with DDP."""
    check(found, f"ZeRO, {name}, {path}")


@every_path
@every_optimizer
def test_fault_82_checkpoints_of_state_that_is_shared_out(found: Any, name: str, path: str) -> None:
    """A checkpoint of ZeRO, consolidated and loaded."""
    check(found, f"checkpoint of ZeRO, {name}, {path}")


@fully_shard
@every_path
@every_optimizer
def test_fault_82_checkpoints_of_sharded_state(found: Any, name: str, path: str) -> None:
    """A checkpoint of FSDP2 (`distributed.checkpoint`)."""
    check(found, f"checkpoint, {name}, {path}")


@fully_shard
@two_paths
@every_optimizer
def test_fault_82_checkpoints_that_are_loaded_into_other_shards(found: Any, name: str, path: str) -> None:
    """The checkpoint, loaded under tensor parallel."""
    check(found, f"checkpoint, resharded, {name}, {path}")


@fully_shard
@every_path
@every_optimizer
def test_fault_82_checkpoints_that_one_process_loads(found: Any, name: str, path: str) -> None:
    """The checkpoint, loaded into one process."""
    check(found, f"checkpoint, in one process, {name}, {path}")


@fully_shard
@every_path
@every_optimizer
def test_fault_82_checkpoints_of_the_whole_state(found: Any, name: str, path: str) -> None:
    """The whole state of FSDP2 in one dictionary; not of GD."""
    case = f"checkpoint of the whole, {name}, {path}"
    if name == "GD":  # of an optimizer without state, as its own SGD, torch refuses it
        assert all("set_optimizer_state_dict" in of_rank[case] for of_rank in found)
    else:
        check(found, case)


@fully_shard
@every_optimizer
def test_fault_82_flags_on_sharded_parameters(found: Any, name: str) -> None:
    check(found, f"FSDP2, {name}, maximize, weight_decay")


@fully_shard
@pytest.mark.parametrize("case", ["the whole state of SGD", "tensor parallel, uneven"])
def test_what_torch_refuses_whatever_the_optimizer(found: Any, case: str) -> None:
    assert all(isinstance(of_rank[case], str) for of_rank in found), found
