"""The recorded results of the book: listed with their hashes, found in a checkout, else fetched and checked."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
import requests

import nadam_ref
from nadam_ref.cli import main
from nadam_ref.experiments import released
from nadam_ref.experiments.datasets import registry
from nadam_ref.experiments.datasets.registry import DataError
from nadam_ref.experiments.runs import pack

RESULTS = Path(__file__).parents[2] / "book" / "results"


def test_the_registry_is_what_the_checkout_holds() -> None:
    assert released.registry() == released.files(RESULTS)


def test_every_pack_is_whole_and_says_where_it_was_made() -> None:
    for manifest in RESULTS.rglob("manifest.json"):
        records = pack.read(manifest.parent)
        assert records
        assert {r.provenance["dirty"] for r in records} == {False}


def test_in_a_checkout_the_files_are_those_of_the_checkout() -> None:
    assert released.folder("bench") == RESULTS / "bench"


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(DataError, match=r"no recorded result is called 'bensh'; there are: .*\bbench\b"):
        released.folder("bensh")


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """No checkout, and a registry of one file; returns the cache folder."""
    monkeypatch.setattr(released, "here", lambda: None)
    monkeypatch.setattr(released, "registry", lambda: {"bench/step.json": hashlib.sha256(b"right").hexdigest()})
    monkeypatch.setattr(registry, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(released, "cache", registry.cache)
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path / "data"))
    return tmp_path / "cache"


def answer(monkeypatch: pytest.MonkeyPatch, content: Any) -> Any:
    """Replace the network; returns the addresses that are asked for."""
    asked = []

    def send(self: Any, request: pytest.FixtureRequest, **_: Any) -> Any:
        asked.append(request.url)
        answer = requests.Response()
        answer.status_code, answer.url, answer.request, answer.raw = 200, request.url, request, io.BytesIO(content)
        return answer

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    return asked


def test_outside_a_checkout_nothing_is_fetched_unless_asked(outside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, b"right")
    with pytest.raises(
        DataError, match=r"'bench' is neither in a checkout nor whole in .*`nadam-ref data get results`"
    ):
        released.folder("bench")
    assert asked == [] and not outside.exists()


def test_asked_for_they_are_fetched_by_tag_and_hash_into_the_cache_once(
    outside: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = answer(monkeypatch, b"right")
    assert main(["data", "get", "results"]) == 0 == main(["data", "get", "results"])
    place = released.folder("bench")
    assert (place / "step.json").read_bytes() == b"right"
    assert place.is_relative_to(outside) and not registry.root().exists()
    assert str(place.parent) in capsys.readouterr().err
    (address,) = asked
    assert address.startswith("https://") and f"/v{nadam_ref.__version__}/book/results/bench/step.json" in address


def test_what_is_damaged_in_the_cache_or_on_the_way_is_not_used(outside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, b"right")
    (released.get() / "bench" / "step.json").write_bytes(b"wrong")
    with pytest.raises(DataError, match="nor whole in"):
        released.folder("bench")
    answer(monkeypatch, b"wrong, too")
    with pytest.raises(DataError, match=r"could not fetch .*other bytes"):
        released.get()


def test_fault_44_no_network_says_where_it_looked(outside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def send(*_: Any, **__: Any) -> None:
        raise requests.ConnectionError("no route")

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    with pytest.raises(DataError, match=r"could not fetch https://.*step\.json \(ConnectionError.*clone"):
        released.get()


def test_fault_46_a_read_only_cache_says_so(outside: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, b"right")
    outside.touch()  # a file where the folder would be
    with pytest.raises(DataError, match=r"cannot write to .*cache.*XDG_CACHE_HOME"):
        released.get()
