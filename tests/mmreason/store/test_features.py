"""The feature cache: by content, whatever writes, and whole up to what a kill cut."""

from __future__ import annotations

import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

from mmreason.schema import DataError, Item
from mmreason.store.features import FeatureCache, content_hash, input_key, mean_of_inputs
from mmreason.store.standardised import InputKeys, StandardisedFeatures, read_features, write_features


def _keys(*texts: str) -> list[bytes]:
    return [input_key(text) for text in texts]


def _values(*numbers: float) -> np.ndarray:
    return np.array([[number, -number] for number in numbers], np.float32)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "text", 2, {"encoder": "a"})


def test_vectors_are_found_by_key_in_any_order(cache: FeatureCache) -> None:
    cache.write(_keys("a", "b"), _values(1, 2))
    cache.write(_keys("c"), _values(3))
    rows = cache.rows(_keys("c", "nothing", "a", "c"))

    assert cache.get(rows).tolist() == [[3, -3], [0, 0], [1, -1], [3, -3]]
    assert (rows >= 0).tolist() == [True, False, True, True] and len(cache) == 3


def test_rows_keep_their_numbers_while_others_write(cache: FeatureCache) -> None:
    cache.write(_keys("a"), _values(1))
    row = cache.rows(_keys("a"))
    other = FeatureCache(cache.folder, 2, {})
    other.write(_keys("b", "c"), _values(2, 3))
    cache.write(_keys("d"), _values(4))

    assert cache.get(row).tolist() == [[1, -1]]
    assert cache.get(cache.rows(_keys("b", "d"))).tolist() == [[2, -2], [4, -4]]
    assert (other.rows(_keys("d")) == -1).all()
    other.refresh()
    assert other.get(other.rows(_keys("d"))).tolist() == [[4, -4]]


@pytest.mark.parametrize("suffix", ["keys", "values"])
def test_what_a_kill_cut_off_is_missing_and_the_rest_is_whole(cache: FeatureCache, suffix: str) -> None:
    cache.write(_keys("a", "b"), _values(1, 2))
    path = next(cache.folder.glob(f"*.{suffix}"))
    path.write_bytes(path.read_bytes()[:-1])
    again = FeatureCache(cache.folder, 2, {})

    assert (again.rows(_keys("a", "b")) >= 0).tolist() == [True, False]
    again.write(_keys("b"), _values(2))
    assert again.get(again.rows(_keys("a", "b"))).tolist() == [[1, -1], [2, -2]]


def _write_many(folder: Path, start: int) -> None:
    cache = FeatureCache(folder, 2, {})
    for number in range(start, start + 40):
        cache.write(_keys(f"item {number}"), _values(number))


def test_several_processes_write_at_the_same_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_write_many, args=(tmp_path, start)) for start in (0, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    cache = FeatureCache(tmp_path)
    found = cache.get(cache.rows(_keys(*(f"item {number}" for number in range(60)))))

    assert found[:, 0].tolist() == list(range(60))


def test_a_cache_of_another_length_or_damaged_is_named(cache: FeatureCache, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="features of length 2, not 3"):
        FeatureCache(cache.folder, 3)
    with pytest.raises(DataError, match="no features here"):
        FeatureCache(tmp_path / "gone")
    with pytest.raises(ValueError, match="want"):
        cache.write(_keys("a"), _values(1, 2))
    (cache.folder / "about.json").write_text("{")
    with pytest.raises(DataError, match=r"about\.json: cannot be read"):
        FeatureCache(cache.folder)


def test_it_travels_to_workers_and_large_numbers_stay_finite(cache: FeatureCache) -> None:
    cache.write(_keys("a"), _values(1e6))
    again = pickle.loads(pickle.dumps(cache))

    assert np.isfinite(again.get(again.rows(_keys("a")))).all()


def test_content_hashes_tell_inputs_apart() -> None:
    one = Item("a", title="Coat", images=[b"x", b"y"])
    assert content_hash(one) == content_hash(Item("b", title="Coat", images=[b"x", b"y"]))
    for other in (
        Item("a", title="Coats", images=[b"x", b"y"]),
        Item("a", title="Coat", images=[b"xy"]),
        Item("a", title="Coat", images=[b"y", b"x"]),
        Item("a", title="Coat", images=[b"x"], video=b"y"),
    ):
        assert content_hash(other) != content_hash(one)


def test_an_items_features_are_the_mean_of_its_pictures_standardised(cache: FeatureCache) -> None:
    cache.write(_keys("a", "b", "c"), _values(1, 3, 50))
    folder = cache.folder.parent / "embed"
    mean, std = np.array([1.0, 0.0], np.float32), np.array([2.0, 1.0], np.float32)
    write_features(folder, {"image": StandardisedFeatures(cache.folder, mean, std)})
    features = read_features(folder)["image"]
    inputs = InputKeys.of([0, 0, 2], _keys("a", "b", "c"))

    assert features.of(inputs, np.array([0, 1, 2])).tolist() == [[0.5, -2], [0, 0], [8, -8]]
    assert features.of(inputs.of_items([2, 0]), np.array([1])).tolist() == [[0.5, -2]]
    with pytest.raises(DataError, match="1 features of embedded items are gone"):
        features.of(InputKeys.of([0], _keys("never")), np.array([0]))


def test_a_mean_of_no_input_is_zero() -> None:
    assert mean_of_inputs(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), 2).tolist() == [[0, 0]] * 2
