"""The interval against theory, and the reason it draws videos and not queries."""

from __future__ import annotations

import numpy as np
import pytest

from bridge_stg.metrics.bootstrap import clustered_interval


def test_independent_queries_give_the_textbook_interval() -> None:
    values = np.random.default_rng(1).normal(0.5, 0.2, size=(400, 1))
    low, high = clustered_interval(values, [f"v{i}" for i in range(400)], resamples=4000)[0]
    half = 1.96 * values.std() / np.sqrt(400)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_asking_each_question_ten_times_makes_nothing_surer() -> None:
    values = np.random.default_rng(2).uniform(size=(60, 3))
    videos = [f"v{i}" for i in range(60)]
    once = clustered_interval(values, videos)
    repeated = np.repeat(values, 10, axis=0)
    assert clustered_interval(repeated, list(np.repeat(videos, 10))) == pytest.approx(once)
    # Drawing single queries would claim an interval narrower by about the square root of ten.
    naive = clustered_interval(repeated, [str(i) for i in range(600)])
    assert (np.diff(naive) < 0.5 * np.diff(once)).all()


def test_videos_weigh_by_their_queries() -> None:
    # One video holds 9 of 10 queries; a resample of two videos has mean 0, 0.1 (both drawn once) or 1.
    values = np.array([[0.0]] * 9 + [[1.0]])
    middle = clustered_interval(values, ["a"] * 9 + ["b"], level=1e-9)[0]
    assert middle == pytest.approx([0.1, 0.1])


def test_same_seed_same_interval_and_order_does_not_matter() -> None:
    values = np.random.default_rng(3).uniform(size=(50, 2))
    videos = [f"v{i % 13}" for i in range(50)]
    first = clustered_interval(values, videos, seed=5)
    assert (first == clustered_interval(values, videos, seed=5)).all()
    assert (first != clustered_interval(values, videos, seed=6)).any()
    assert clustered_interval(values[::-1], videos[::-1], seed=5) == pytest.approx(first)


def test_one_video_has_no_spread() -> None:
    assert clustered_interval(np.array([[0.2], [0.4]]), ["a", "a"])[0] == pytest.approx([0.3, 0.3])


def test_weights_are_rows_said_once() -> None:
    """A row of weight 3 is three rows of weight 1."""
    values = np.random.default_rng(4).uniform(size=(40, 2))
    weights = np.random.default_rng(5).integers(1, 5, 40)
    videos = np.array([f"v{i % 11}" for i in range(40)])
    once = clustered_interval(values, list(videos), weights=weights.astype(np.float64))
    rows = np.repeat(np.arange(40), weights)
    assert clustered_interval(values[rows], list(videos[rows])) == pytest.approx(once)
