"""The recorded results of the book: listed with their hashes, found in a checkout, else fetched and checked."""

import hashlib
from pathlib import Path

import pytest

import nadam_ref
from nadam_ref.experiments import pack, released
from nadam_ref.experiments.data import DataError

RESULTS = Path(__file__).parents[2] / "book" / "results"


def test_the_registry_is_what_the_checkout_holds():
    assert released.registry() == released.files(RESULTS)


def test_every_pack_is_whole_and_says_where_it_was_made():
    for manifest in RESULTS.rglob("manifest.json"):
        records = pack.read(manifest.parent)
        assert records
        assert {r.provenance["dirty"] for r in records} == {False}


def test_in_a_checkout_the_files_are_those_of_the_checkout():
    assert released.folder("bench") == RESULTS / "bench"


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(DataError, match=r"no recorded result is called 'bensh'; there are: bench"):
        released.folder("bensh")


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """No checkout, and a registry of one file; what is asked for by address."""
    monkeypatch.setattr(released, "here", lambda: None)
    monkeypatch.setattr(released, "registry", lambda: {"bench/step.json": hashlib.sha256(b"right").hexdigest()})
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path))
    return tmp_path


def test_outside_a_checkout_the_files_are_fetched_by_tag_and_hash(outside, monkeypatch):
    asked = []

    def retrieve(address, known_hash, fname, path):
        asked.append((address, known_hash))
        Path(path).mkdir(parents=True)
        (Path(path) / fname).write_bytes(b"right")

    monkeypatch.setattr("pooch.retrieve", retrieve)
    place = released.folder("bench")
    assert (place / "step.json").read_bytes() == b"right"
    assert place.is_relative_to(outside)
    ((address, known_hash),) = asked
    assert address.startswith("https://") and f"/v{nadam_ref.__version__}/book/results/bench/step.json" in address
    assert known_hash == f"sha256:{hashlib.sha256(b'right').hexdigest()}"


def test_fault_44_no_network_says_where_it_looked(outside, monkeypatch):
    def retrieve(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr("pooch.retrieve", retrieve)
    with pytest.raises(
        DataError, match=r"step\.json is not in a checkout and could not be fetched from https://.*no route"
    ):
        released.folder("bench")
