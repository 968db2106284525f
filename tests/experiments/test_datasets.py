"""Data: where they are looked for, what is refused, and what the messages say. Numbers are lines of the fault list."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import re
import shutil
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from sklearn.datasets import load_digits

import nadam_ref
from nadam_ref.cli import main
from nadam_ref.experiments import datasets
from nadam_ref.experiments.datasets import download, registry
from nadam_ref.experiments.datasets.images import read_idx

real_mnist = pytest.mark.skipif(
    registry.state("mnist") != "present", reason="needs MNIST in NADAM_REF_DATA or the cache"
)


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(header + array.tobytes(), mtime=0)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A made-up MNIST of 2×2 pixels on a 'server' folder; the data folder is empty. Returns the server folder."""
    random = np.random.default_rng(0)
    server = tmp_path / "server"
    server.mkdir()
    contents = []
    for part, count in (("train", 5012), ("t10k", 7)):
        contents.append((f"{part}-images-idx3-ubyte.gz", random.integers(0, 256, (count, 2, 2), dtype=np.uint8)))
        contents.append((f"{part}-labels-idx1-ubyte.gz", random.integers(0, 10, count, dtype=np.uint8)))
    files = {}
    for name, array in contents:
        (server / name).write_bytes(idx(array))
        files[name] = hashlib.sha256(idx(array)).hexdigest()
    source = dataclasses.replace(
        registry.SOURCES["mnist"], files=files, mirrors=("https://one.example/", "https://two.example/")
    )
    monkeypatch.setitem(registry.SOURCES, "mnist", source)
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path / "data folder ü"))
    (tmp_path / "data folder ü").mkdir()
    return server


def serve(monkeypatch: pytest.MonkeyPatch, server: Any, spoil: Any = lambda url: None) -> Any:
    """Put a folder in the place of the network, up to the socket; `spoil` may answer with another body, or raise.

    Returns the list of addresses asked for.
    """
    asked = []

    def send(self: Any, request: pytest.FixtureRequest, **_: Any) -> Any:
        asked.append(request.url)
        content = spoil(request.url)
        return response(request, 200, {}, content or (server / request.url.rsplit("/", 1)[1]).read_bytes())

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    return asked


def response(request: pytest.FixtureRequest, status: Any, headers: Any, body: Any) -> Any:
    """What requests makes of an answer from the network."""
    answer = requests.Response()
    answer.status_code, answer.url, answer.request = status, request.url, request
    answer.raw = io.BytesIO(body) if isinstance(body, bytes) else body
    answer.headers.update(headers)
    return answer


class HalfThen(io.RawIOBase):
    """A body of which half comes, and then an error."""

    def __init__(self, error: Any) -> None:
        self.error, self.half = error, [b"half"]

    def read(self, size: int = -1) -> Any:
        if self.half:
            return self.half.pop()
        raise self.error


def copy_all(server: Any) -> Any:
    shutil.copytree(server, registry.root() / "mnist", dirs_exist_ok=True)
    return registry.root() / "mnist"


def parts_left() -> Any:
    return list(registry.root().rglob("*.part"))


# ---------------------------------------------------------------- the sets


def test_digits_are_scikit_learns_each_once_and_stratified() -> None:
    digits = datasets.load("digits")
    bunch = load_digits()
    images = np.concatenate([digits.split(s)[0] for s in ("train", "dev", "test")])
    labels = np.concatenate([digits.split(s)[1] for s in ("train", "dev", "test")])
    ours = sorted((tuple(i.ravel()), int(n)) for i, n in zip(images, labels, strict=True))
    theirs = sorted((tuple(i.ravel().astype(int)), int(n)) for i, n in zip(bunch.images, bunch.target, strict=True))
    assert ours == theirs
    for split, share in (("train", 4 / 6), ("dev", 1 / 6), ("test", 1 / 6)):
        counts = np.bincount(digits.split(split)[1], minlength=10)
        assert np.abs(counts - share * np.bincount(bunch.target)).max() < 2
    assert images.max() == digits.white == 16


def test_identity_is_a_hash_of_content_and_split() -> None:
    digits = datasets.load("digits")
    # written down once: records of digits are found again only as long as it holds
    assert digits.sha256 == "397fe5bf07db09b35f09508f8034ae2a4343921de2f00fad53bac42a3937c377"
    changed = digits.train_images.copy()
    changed[0, 0, 0] ^= 1
    assert dataclasses.replace(digits, train_images=changed).sha256 != digits.sha256
    moved = dataclasses.replace(digits, dev_images=digits.test_images, dev_labels=digits.test_labels)
    assert moved.sha256 != digits.sha256


def test_subset_is_the_first_images_and_says_so() -> None:
    whole, part = datasets.load("digits"), datasets.load("digits", (100, 20, 30))
    for split, size in (("train", 100), ("dev", 20), ("test", 30)):
        for a, b in zip(part.split(split), whole.split(split), strict=True):
            np.testing.assert_array_equal(a, b[:size])
    assert part.label == "scikit-learn digits, first 100/20/30 train/dev/test images"
    assert part.sha256 != whole.sha256
    with pytest.raises(ValueError, match="asks for 2000 train images; scikit-learn digits has 1204"):
        datasets.load("digits", (2000, 20, 30))


def test_loaded_arrays_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        datasets.load("digits").train_images[0] = 1


@real_mnist
def test_real_mnist_has_its_known_labels_and_the_tutorials_split() -> None:
    mnist = datasets.load("mnist")
    assert [len(mnist.split(s)[0]) for s in ("train", "dev", "test")] == [55_000, 5_000, 10_000] == [*datasets.MNIST]
    assert mnist.dev_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]  # the training file begins so
    assert mnist.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    both = np.bincount(np.concatenate([mnist.train_labels, mnist.dev_labels]))
    assert both.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    pixels = np.concatenate([mnist.train_images, mnist.dev_images]).mean() / mnist.white
    assert pixels == pytest.approx(0.1307, abs=5e-5)  # the mean that every tutorial normalizes by


def test_dev_is_the_first_5000_training_images(tiny: Any) -> None:
    folder = copy_all(tiny)
    mnist = datasets.load("mnist")
    raw = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    assert mnist.dev_images.tobytes() == raw[: 5000 * 4]
    assert mnist.train_images.tobytes() == raw[5000 * 4 :]


# ---------------------------------------------------------------- what is where


def test_nothing_is_downloaded_unless_asked(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(monkeypatch, tiny)
    with pytest.raises(registry.DataError) as error:
        datasets.load("mnist")
    for word in (str(registry.root() / "mnist"), "nadam-ref data get mnist", "NADAM_REF_DATA", "digits"):
        assert word in str(error.value)
    assert registry.verify("mnist") and registry.state("mnist") == "absent"
    assert asked == []


def test_states(tiny: Any) -> None:
    assert registry.state("digits") == "embedded"
    assert registry.state("mnist") == "absent"
    folder = copy_all(tiny)
    assert registry.state("mnist") == "present"
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    assert registry.state("mnist") == "incomplete"
    with pytest.raises(registry.DataError, match=r"missing: t10k-labels-idx1-ubyte.gz"):
        datasets.load("mnist")
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"?")
    assert registry.state("mnist") == "damaged"
    states = {name: registry.state(name) for name in registry.SOURCES}
    assert states == {
        **dict.fromkeys(("digits", "chain", "clusters"), "embedded"),
        **dict.fromkeys(("ptb", "wikitext-2", "text8", "analogies"), "absent"),
        "mnist": "damaged",
    }


def test_first_available_skips_only_what_is_wholly_absent(
    tiny: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert registry.first_available("mnist", "digits") == "digits"
    folder = copy_all(tiny)
    assert registry.first_available("mnist", "digits") == "mnist"
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(registry.DataError, match="missing"):
        registry.first_available("mnist", "digits")
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path / "mistyped"))
    with pytest.raises(registry.DataError, match="mistyped, which is no folder"):
        registry.first_available("mnist", "digits")


def test_the_first_of_several_absent_ones_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path))
    with pytest.raises(registry.DataError, match=r"'ptb' is not in .*data get ptb.*'wikitext-2' would do as well"):
        registry.first_available("ptb", "wikitext-2")
    with pytest.raises(registry.DataError, match=r"'mnist' is not in (?!.*as well)"):
        registry.first_available("mnist")


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(registry.DataError, match=r"'minst'.*digits, mnist"):
        datasets.load("minst")
    with pytest.raises(registry.DataError, match=r"'chain' has no images; those that have: mnist, digits"):
        datasets.load("chain")


# ---------------------------------------------------------------- getting


def test_get_fetches_what_is_missing_and_only_that(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(monkeypatch, tiny)
    folder = download.get("mnist")
    assert folder == registry.root() / "mnist"
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == {f.name: f.read_bytes() for f in tiny.iterdir()}
    assert len(asked) == 4
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    download.get("mnist")
    assert asked[4:] == ["https://one.example/t10k-labels-idx1-ubyte.gz"]
    assert download.get("digits").is_dir() and len(asked) == 5


def test_second_mirror_is_tried(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(url: Any) -> None:
        if "one.example" in url:
            raise requests.ConnectionError("unreachable")

    asked = serve(monkeypatch, tiny, unreachable)
    download.get("mnist")
    assert registry.state("mnist") == "present"
    assert [url.split("/")[2] for url in asked] == ["one.example", "two.example"] * 4


def test_fault_38_wrong_checksum_is_never_used_and_never_touched(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(monkeypatch, tiny)
    own = copy_all(tiny) / "train-images-idx3-ubyte.gz"
    own.write_bytes(b"my own file")
    found = hashlib.sha256(b"my own file").hexdigest()
    expected = registry.SOURCES["mnist"].files[own.name]
    for act in (datasets.load, download.get):
        with pytest.raises(registry.DataError) as error:
            act("mnist")
        assert found in str(error.value) and expected in str(error.value) and str(own) in str(error.value)
    assert own.read_bytes() == b"my own file"
    assert asked == []


def test_fault_39_truncated_download_is_restarted(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled = []

    def truncated(url: Any) -> Any:
        if len(spoiled) < 3:
            spoiled.append(url)
            return (tiny / url.rsplit("/", 1)[1]).read_bytes()[:-9]

    serve(monkeypatch, tiny, truncated)
    download.get("mnist")
    assert registry.state("mnist") == "present" and parts_left() == []


def test_fault_39_an_interrupted_download_leaves_nothing(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, tiny, lambda url: HalfThen(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        download.get("mnist")
    assert list((registry.root() / "mnist").iterdir()) == []


def test_fault_40_a_web_page_is_no_data(wire: Any, tmp_path: Path) -> None:
    answers, _ = wire
    page = b"<!DOCTYPE html><title>Log in</title>"
    answers["https://a.example/x"] = (200, {"content-type": "text/html; charset=utf-8"}, page)
    with pytest.raises(registry.DataError, match="a web page"):
        download.fetch("https://a.example/x", hashlib.sha256(page).hexdigest(), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_other_bytes_are_refused_with_both_checksums(wire: Any, tmp_path: Path) -> None:
    answers, _ = wire
    answers["https://a.example/x"] = (200, {}, b"other")
    with pytest.raises(registry.DataError, match="other bytes") as error:
        download.fetch("https://a.example/x", CONTENT, tmp_path / "x")
    assert CONTENT in str(error.value) and hashlib.sha256(b"other").hexdigest() in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_fault_42_a_download_that_does_not_end_is_given_up(wire: Any, tmp_path: Path) -> None:
    answers, _ = wire
    answers["https://a.example/x"] = (200, {}, b"content" * 1000)
    with pytest.raises(registry.DataError, match="more bytes than the file has"):
        download.fetch("https://a.example/x", CONTENT, tmp_path / "x", 7)
    assert list(tmp_path.iterdir()) == []
    answers["https://a.example/x"] = (200, {}, b"content")
    download.fetch("https://a.example/x", CONTENT, tmp_path / "x", 7)


def test_fault_42_a_mirror_that_sends_more_is_left_for_the_next(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    largest = max(path.stat().st_size for path in tiny.iterdir())
    source = dataclasses.replace(registry.SOURCES["mnist"], largest=largest)
    monkeypatch.setitem(registry.SOURCES, "mnist", source)
    asked = serve(monkeypatch, tiny, lambda url: b"x" * (largest + 1) if "one.example" in url else None)
    download.get("mnist")
    assert registry.state("mnist") == "present" and parts_left() == []
    assert [url.split("/")[2] for url in asked] == ["one.example", "two.example"] * 4


def test_every_set_that_is_downloaded_says_how_large_its_files_are() -> None:
    for name, source in registry.SOURCES.items():
        assert (source.largest < registry.LARGEST) == bool(source.mirrors), name
        if source.mirrors and registry.state(name) == "present":
            assert source.largest == max(path.stat().st_size for path in registry.paths(name))


def test_a_file_that_was_fetched_has_the_mode_of_any_new_file(wire: Any, tmp_path: Path) -> None:
    answers, _ = wire
    answers["https://a.example/x"] = (200, {}, b"content")
    download.fetch("https://a.example/x", CONTENT, tmp_path / "x")
    (tmp_path / "y").touch()
    assert (tmp_path / "x").stat().st_mode == (tmp_path / "y").stat().st_mode


@pytest.mark.parametrize("left", [0, 1, 3])
def test_fault_41_a_set_that_was_unpacked_in_part_is_never_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left: int
) -> None:
    """WikiText-2 is unpacked by hand: some of its files are whole, one is cut off, and others are not there yet."""
    contents = {name: f"{name} ü\n".encode() * 99 for name in registry.SOURCES["wikitext-2"].files}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setitem(
        registry.SOURCES, "wikitext-2", dataclasses.replace(registry.SOURCES["wikitext-2"], files=files)
    )
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path))
    (folder := tmp_path / "wikitext-2").mkdir()
    for name in list(contents)[:left]:
        (folder / name).write_bytes(contents[name])
    missing = list(contents)[left:]
    if missing:
        with pytest.raises(
            registry.DataError, match=r"Unpack wikitext-2-v1.zip .* use the embedded data set 'chain'"
        ) as e:
            registry.require("wikitext-2")
        assert all(name in str(e.value) for name in missing) == (left > 0)
        assert registry.state("wikitext-2") == ("incomplete" if left else "absent")
        if left:  # a half copy is no wish to use another set
            with pytest.raises(registry.DataError, match="missing: wiki"):
                registry.first_available("wikitext-2", "chain")
    last = list(contents)[-1]
    (folder / last).write_bytes(contents[last][:-7])
    with pytest.raises(registry.DataError, match=rf"{last} has the wrong checksum and is not used"):
        registry.require("wikitext-2")
    assert (folder / last).read_bytes() == contents[last][:-7]


def test_fault_42_no_archive_is_unpacked() -> None:
    """So none can write outside of its folder, through a link, or more than the disk holds."""
    package = Path(nadam_ref.__file__).parent
    names = re.compile(r"\b(tarfile|shutil\.unpack_archive|unpack_archive|extractall|extract|Untar|Unzip|Decompress)\b")
    found = {path.name: names.findall(path.read_text(encoding="utf-8")) for path in package.rglob("*.py")}
    assert len(found) > 50 and {name: seen for name, seen in found.items() if seen} == {}


def test_fault_42_a_compressed_file_is_opened_only_once_its_checksum_is_right(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = copy_all(tiny) / "train-images-idx3-ubyte.gz"
    bomb.write_bytes(gzip.compress(bytes(10**7)))
    monkeypatch.setattr(gzip, "decompress", lambda _: pytest.fail("it was opened"))
    with pytest.raises(registry.DataError, match="wrong checksum"):
        datasets.load("mnist")


GOOD = struct.pack(">BBBBII", 0, 0, 8, 2, 2, 3) + bytes(range(6))


def test_idx_reads_a_good_file(tmp_path: Path) -> None:
    (tmp_path / "x.gz").write_bytes(gzip.compress(GOOD))
    assert read_idx(tmp_path / "x.gz", 2).tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"\x00\x00\x09\x02" + GOOD[4:]), "starts with 00000902"),
        (gzip.compress(b"\x00\x00\x08\x03" + GOOD[4:]), "starts with 00000803"),
        (gzip.compress(GOOD[:7]), "no IDX file"),
        (gzip.compress(b""), "no IDX file"),
        (gzip.compress(GOOD[:-1]), "6 bytes; it has 5"),
        (gzip.compress(GOOD + b"\x00"), "6 bytes; it has 7"),
        (gzip.compress(struct.pack(">BBBBII", 0, 0, 8, 2, 2**32 - 1, 2**32 - 1) + bytes(6)), "it has 6"),
        (gzip.compress(GOOD)[:-8] + b"\x00\x00\x00\x00" + gzip.compress(GOOD)[-4:], "no whole gzip file"),
        (gzip.compress(GOOD)[:-9], "no whole gzip file"),
        (GOOD, "no whole gzip file"),
        (b"", "no IDX file"),
    ],
    ids=range(11),  # compressed bytes have the time in them
)
def test_fault_43_idx(tmp_path: Path, content: Any, message: str) -> None:
    (tmp_path / "bad.gz").write_bytes(content)
    with pytest.raises(registry.DataError, match=message) as error:
        read_idx(tmp_path / "bad.gz", 2)
    assert "bad.gz" in str(error.value)


def test_fault_44_no_network_lists_addresses_place_and_the_way_out(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(url: Any) -> None:
        raise requests.ConnectionError("no route to host")

    serve(monkeypatch, tiny, unreachable)
    with pytest.raises(registry.DataError) as error:
        download.get("mnist")
    name = "train-images-idx3-ubyte.gz"
    for word in (f"https://one.example/{name}", f"https://two.example/{name}", "ConnectionError", "digits"):
        assert word in str(error.value)
    assert str(registry.root() / "mnist") in str(error.value) and "\n" not in str(error.value)


SETTINGS = [
    ("https_proxy", "http://me:secret@127.0.0.1:9", "ProxyError", "https_proxy=http://***@127.0.0.1:9"),
    ("HTTPS_PROXY", "http://[::1", "InvalidURL", "https_proxy=http://[::1"),
    ("https_proxy", "socks5://127.0.0.1:9", "", "https_proxy=socks5://127.0.0.1:9"),
    ("ALL_PROXY", "ftp://x", "InvalidURL", "all_proxy=ftp://x"),
    ("https_proxy", "http://:x@", "", "https_proxy=http://***@"),
    ("REQUESTS_CA_BUNDLE", "/nowhere.pem", "no trusted certificate", "REQUESTS_CA_BUNDLE=/nowhere.pem"),
    ("CURL_CA_BUNDLE", "/nowhere.pem", "no trusted certificate", "CURL_CA_BUNDLE=/nowhere.pem"),
]


@pytest.mark.parametrize(("name", "value", "what", "setting"), SETTINGS, ids=[f"{x[0]}={x[1]}" for x in SETTINGS])
def test_fault_93_a_wrong_proxy_or_certificate_setting_is_named_in_one_line(
    tiny: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: Any,
    value: Any,
    what: Any,
    setting: Any,
) -> None:
    for other in (*download.PROXIES, *download.CERTIFICATES, "no_proxy"):
        monkeypatch.delenv(other, raising=False)
        monkeypatch.delenv(other.upper(), raising=False)
    monkeypatch.setenv(name, value)
    assert main(["data", "get", "mnist"]) == 2
    said = capsys.readouterr().err
    assert f"correct or unset {setting}" in said and what in said
    assert said.count("\n") == 1 and "secret" not in said and parts_left() == []


def test_fault_45_two_fetch_at_once(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the file system is shared, so two threads that meet inside every download stand for two processes."""
    meet = threading.Barrier(2, timeout=20)

    serve(monkeypatch, tiny, lambda url: meet.wait() and None)
    faults = []

    def fetch() -> None:
        try:
            download.get("mnist")
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == [] and registry.state("mnist") == "present" and parts_left() == []


def test_fault_46_folder_not_writable(tiny: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    serve(monkeypatch, tiny)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(registry.DataError, match=r"Permission denied.*NADAM_REF_DATA"):
        download.get("mnist")


def test_fault_46_disk_full(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(monkeypatch, tiny, lambda url: HalfThen(OSError(28, "No space left on device")))
    with pytest.raises(registry.DataError, match="No space left"):
        download.get("mnist")
    assert len(asked) == 1  # another mirror does not help


def test_fault_46_the_data_folder_is_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path / "file"))
    with pytest.raises(registry.DataError, match="cannot read"):
        datasets.load("mnist")


def test_fault_46_home_unset_and_default_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NADAM_REF_DATA", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert registry.root().is_absolute() and "nadam_ref" in registry.root().parts
    monkeypatch.setenv("NADAM_REF_DATA", "")
    assert "nadam_ref" in registry.root().parts


# ---------------------------------------------------------------- the network, up to the socket


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Answers by address, given to requests in place of the network; and the list of addresses it went to."""
    answers, sent = {}, []

    def send(self: Any, request: pytest.FixtureRequest, **_: Any) -> Any:
        sent.append(request.url)
        return response(request, *answers[request.url])

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    return answers, sent


CONTENT = hashlib.sha256(b"content").hexdigest()


def test_https_and_https_redirect_are_followed(wire: Any, tmp_path: Path) -> None:
    answers, _ = wire
    answers["https://a.example/x"] = (302, {"location": "https://b.example/x"}, b"")
    answers["https://b.example/x"] = (200, {}, b"content")
    download.fetch("https://a.example/x", CONTENT, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"content"


def test_fault_47_plain_http_is_refused(wire: Any, tmp_path: Path) -> None:
    answers, sent = wire
    answers["http://a.example/x"] = (200, {}, b"content")
    with pytest.raises(registry.DataError, match=r"refused plain http: http://a.example/x"):
        download.fetch("http://a.example/x", CONTENT, tmp_path / "x")
    assert sent == []


def test_fault_47_redirect_to_plain_http_is_refused_before_it_is_followed(wire: Any, tmp_path: Path) -> None:
    answers, sent = wire
    answers["https://a.example/x"] = (301, {"location": "http://b.example/x"}, b"")
    answers["http://b.example/x"] = (200, {}, b"content")
    with pytest.raises(registry.DataError, match=r"refused plain http: http://b.example/x"):
        download.fetch("https://a.example/x", CONTENT, tmp_path / "x")
    assert sent == ["https://a.example/x"]


def test_an_error_page_with_its_status_is_an_error(wire: Any, tmp_path: Path) -> None:
    answers, _ = wire
    answers["https://a.example/x"] = (404, {}, b"gone")
    with pytest.raises(registry.DataError, match="404"):
        download.fetch("https://a.example/x", CONTENT, tmp_path / "x")


def test_mirrors_are_https_and_files_have_full_checksums() -> None:
    for source in registry.SOURCES.values():
        assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in source.mirrors)
        assert all(len(sha256) == 64 for sha256 in source.files.values())
        assert source.embedded != bool(source.mirrors or source.by_hand)
        assert registry.SOURCES[source.instead].embedded
