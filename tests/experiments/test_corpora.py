"""Text as word numbers: known counts of the real sets, the generated ones, and text that is no text."""

import dataclasses
import hashlib
import importlib.util
from collections import Counter

import numpy as np
import pytest

from nadam_ref.experiments.datasets import corpora, download, registry, synthetic


def needs(name):
    return pytest.mark.skipif(registry.state(name) == "absent", reason=f"needs {name} in NADAM_REF_DATA or the cache")


# ---------------------------------------------------------------- from text to numbers


def test_words_are_numbered_by_frequency_and_lines_end():
    made = corpora.from_texts("made", "made-up text", "b a b\n<unk> c a b\n", "a z\n", "c b\n")
    assert made.words == ("<unk>", "b", "<eos>", "a", "c")  # three times, twice, twice, once
    assert made.train.tolist() == [1, 3, 1, 2, 0, 4, 3, 1, 2]
    assert made.dev.tolist() == [3, 0, 2] and made.test.tolist() == [4, 1, 2]
    assert corpora.limited(made.train, 2).tolist() == [1, 0, 1, 0, 0, 0, 0, 1, 0]


def test_analogies_are_in_lower_case_and_within_the_vocabulary():
    text = ": capitals\nAthens Greece Rome Italy\n\nAthens Greece Oslo Norway\n: family\nboy girl he she\n"
    words = ("<unk>", "athens", "greece", "rome", "italy", "boy", "girl", "he", "she")
    assert corpora.analogies(text, words).tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert corpora.analogies(": none\n", words).shape == (0, 4)
    with pytest.raises(registry.DataError, match="four words, not 'Athens Greece Rome'"):
        corpora.analogies("Athens Greece Rome", words)


def test_identity_is_a_hash_of_words_numbers_and_split():
    chain = corpora.load_text("chain")
    changed = chain.dev.copy()
    changed[0] ^= 1
    others = [
        dataclasses.replace(chain, dev=changed),
        dataclasses.replace(chain, dev=chain.test, test=chain.dev),
        dataclasses.replace(chain, words=chain.words[::-1]),
        chain.first((40_000, 4_000, 3_999)),
    ]
    assert len({chain.sha256, *(other.sha256 for other in others)}) == 5


def test_generated_texts_are_the_same_everywhere():
    """Written down once: records of generated text are found again only as long as these hold."""
    assert corpora.load_text("chain").sha256 == "63ca6a5f65776fe9c8317794ad0f21569599ecef14c68360b2122826fdd81f72"
    assert corpora.load_words("clusters").sha256 == "c5bb98a37d9cd466733f9f3d284514b13e6b19c49178cf09b5adf0d280b666e8"


def test_subset_is_the_first_tokens_and_says_so():
    whole, part = corpora.load_text("chain"), corpora.load_text("chain", (100, 20, 30))
    for split, size in (("train", 100), ("dev", 20), ("test", 30)):
        np.testing.assert_array_equal(part.split(split), whole.split(split)[:size])
    assert part.label.endswith(", first 100/20/30 train/dev/test items") and part.words == whole.words
    with pytest.raises(ValueError, match=r"asks for 50000 train items; generated text .* has 40000"):
        corpora.load_text("chain", (50_000, 20, 30))


def test_loaded_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        corpora.load_text("chain").train[0] = 1


def test_a_set_that_does_not_serve_the_task_says_which_do():
    with pytest.raises(registry.DataError, match="'digits' does not serve this task; those that do: chain, ptb"):
        corpora.load_text("digits")
    with pytest.raises(registry.DataError, match="'ptb' does not serve this task; those that do: clusters, text8"):
        corpora.load_words("ptb")
    with pytest.raises(registry.DataError, match="no data set is called 'text9'"):
        corpora.load_words("text9")


# ---------------------------------------------------------------- generated text


def test_the_chains_matrix_is_stochastic_and_reaches_every_word():
    matrix = synthetic.transitions()
    assert (matrix >= 0).all() and matrix.sum(axis=1) == pytest.approx(1)
    assert ((matrix > 0).sum(axis=1) == 5).all()
    assert synthetic.stationary(matrix) @ matrix == pytest.approx(synthetic.stationary(matrix), abs=1e-15)
    (parts, best) = synthetic.chain()
    assert [len(part) for part in parts] == list(synthetic.CHAIN_TOKENS)
    assert len(set(parts[0])) == 50 and 1 < best < 5


def test_clusters_say_in_their_neighbours_what_their_analogies_ask():
    text, questions = synthetic.clusters()
    neighbours = {}
    for first, word, last in zip(text[::3], text[1::3], text[2::3], strict=True):
        neighbours.setdefault(word, set()).update({first[:-5], last[:-5]})
    assert len(neighbours) == 48
    for word, clues in neighbours.items():
        theme, aspect = word[1:].split("a")
        assert clues == {f"theme{theme}", f"aspect{aspect}"}
    for line in questions.splitlines()[1:]:
        (i, a), (j, b), (k, c), (m, d) = (word[1:].split("a") for word in line.split())
        assert (i, k, a, b) == (j, m, c, d) and i != k and a != b
    assert max(Counter(questions.splitlines()).values()) == 1


# ---------------------------------------------------------------- the real sets


@needs("ptb")
def test_real_ptb_has_its_known_counts():
    ptb = corpora.load_text("ptb")
    assert len(ptb.words) == 10_000
    assert [len(ptb.split(s)) for s in ("train", "dev", "test")] == [929_589, 73_760, 82_430]
    assert ptb.words[:4] == ("<unk>", "the", "<eos>", "N")
    assert " ".join(ptb.words[i] for i in ptb.dev[:6]) == "consumers may want to move their"


@needs("wikitext-2")
def test_real_wikitext_2_has_its_known_counts():
    wikitext = corpora.load_text("wikitext-2")
    assert len(wikitext.words) == 33_278
    assert [len(wikitext.split(s)) for s in ("train", "dev", "test")] == [2_088_628, 217_646, 245_569]


@needs("analogies")
def test_real_analogies_are_19544():
    text = corpora.read_text(registry.folder("analogies") / "questions-words.txt")
    words = ("<unk>", *sorted(set(text.lower().split())))
    assert corpora.analogies(text, words).shape == (19_544, 4)


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 words; there is nothing to predict"),
        (b" \n\r\n ", "0 words"),
        (b"alone\n", "1 words"),
        (b"caf\xe9 au lait\n", "not UTF-8: byte 3 is 0xe9"),
        (b"\xff\xfea\x00 \x00b\x00", "not UTF-8: byte 0 is 0xff"),
    ],
)
def test_fault_31_what_is_no_text(tmp_path, content, message):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(registry.DataError, match=message) as error:
        corpora.read_text(tmp_path / "bad.txt")
    assert "bad.txt" in str(error.value)


def test_fault_31_any_kind_of_line_end_is_one(tmp_path):
    found = []
    for number, end in enumerate((b"\n", b"\r\n", b"\r")):
        (tmp_path / f"{number}.txt").write_bytes(end.join([b"a b", b"c \xc3\xbc", b""]))
        found.append(corpora.tokens(corpora.read_text(tmp_path / f"{number}.txt")))
    assert found == [["a", "b", "<eos>", "c", "ü", "<eos>"]] * 3


@pytest.mark.parametrize(("load", "name"), [(corpora.load_text, "chain"), (corpora.load_words, "clusters")])
def test_generated_sets_need_no_scikit_learn(load, name, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    corpora._load.cache_clear()
    assert load(name).name == name and registry.state(name) == "embedded"
    with pytest.raises(registry.DataError, match="'digits' needs scikit-learn"):
        registry.folder("digits")


def write_ptb(monkeypatch, tmp_path, texts):
    files = []
    (tmp_path / "ptb").mkdir()
    for part, text in zip(("train", "valid", "test"), texts, strict=True):
        (tmp_path / "ptb" / f"ptb.{part}.txt").write_bytes(text)
        files.append(registry.File(f"ptb.{part}.txt", hashlib.sha256(text).hexdigest()))
    monkeypatch.setitem(registry.SOURCES, "ptb", dataclasses.replace(registry.SOURCES["ptb"], files=tuple(files)))
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path))


def test_files_are_read_in_their_roles(monkeypatch, tmp_path):
    write_ptb(monkeypatch, tmp_path, (b"x y x\n", b"y y\n", b"x z\n"))
    ptb = corpora.load_text("ptb")
    assert ptb.words == ("<unk>", "x", "<eos>", "y")
    assert ptb.train.tolist() == [1, 3, 1, 2] and ptb.dev.tolist() == [3, 3, 2] and ptb.test.tolist() == [1, 0, 2]


def test_fault_38_a_damaged_text_is_never_used(monkeypatch, tmp_path):
    write_ptb(monkeypatch, tmp_path, (b"x y x\n", b"y y\n", b"x z\n"))
    (tmp_path / "ptb" / "ptb.test.txt").write_bytes(b"other\n")
    with pytest.raises(registry.DataError, match="wrong checksum"):
        corpora.load_text("ptb")


def test_absent_text_names_the_embedded_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("NADAM_REF_DATA", str(tmp_path))
    for load, name, instead in ((corpora.load_text, "ptb", "chain"), (corpora.load_words, "text8", "clusters")):
        with pytest.raises(registry.DataError, match=f"is not in .*use the embedded data set '{instead}'"):
            load(name)
    with pytest.raises(registry.DataError, match=r"head -c 6877825 text8"):
        download.get("text8")
