"""The programs of the page *On several processes* train two processes as one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed.fsdp
from small_book import ROOT

pytestmark = pytest.mark.skipif(
    not (torch.distributed.is_available() and hasattr(torch.distributed.fsdp, "fully_shard")),
    reason="this torch has no fully_shard on a CPU",
)
PAGE = (ROOT / "book" / "distributed.md").read_text(encoding="utf-8")
#: By section, what its program has trained.
TRAINED = {"DDP": "replicated", "FSDP2, with a checkpoint": "resumed", "ZeRO": "replicated"}
#: The same in one process on the data of both, the optimizer's loop left to itself.
ALONE = """
alone = net()
one = Nadam(alone.parameters(), lr=0.01)
for step in range(20):
    one.zero_grad()
    torch.stack([(alone(x) - y).square().mean() for x, y in (batch(step, 0), batch(step, 1))]).mean().backward()
    one.step()

def check(section, model):
    whole = (p.full_tensor() if hasattr(p, "full_tensor") else p for p in model.parameters())
    for p, q, start in zip(whole, alone.parameters(), net().parameters(), strict=True):
        torch.testing.assert_close(p, q)
        assert not torch.allclose(p, start)
    if dist.get_rank() == 0:
        print(section, "agrees")
"""
GATHERED = """
if dist.get_rank() == 0:
    gathered = Nadam(net().parameters(), lr=0.01)
    gathered.load_state_dict(torch.load("zero.pt"))
    for p, q in zip(gathered.param_groups[0]["params"], alone.parameters(), strict=True):
        torch.testing.assert_close(gathered.state[p], one.state[q])
    print("zero.pt agrees")
dist.destroy_process_group()
"""


def test_fault_82_the_programs_of_the_page_train_as_one_process(tmp_path: Path) -> None:
    first, *sections = PAGE.split("\n## ")[1:]
    blocks = {part.partition("\n")[0]: re.findall(r"```python\n(.*?)```", part, re.S) for part in (first, *sections)}
    (common,) = blocks.pop("What works with what")
    programs = {name: found for name, found in blocks.items() if found}
    assert programs.keys() == TRAINED.keys()
    lines = [f"{''.join(found)}\ncheck({name!r}, {TRAINED[name]})" for name, found in programs.items()]
    (tmp_path / "train.py").write_text("\n".join([common, ALONE, *lines, GATHERED]), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "train.py"]
    settings = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    environment = {**os.environ, **settings, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines() == [f"{name} agrees" for name in (*TRAINED, "zero.pt")]
