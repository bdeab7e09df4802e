"""Shares of digits that walk are those of the training steps they are said to be of."""

from __future__ import annotations

from aelib.experiments import self_map


def test_as_many_records_as_steps_are_named():
    """The first step is told in any case; it is no record unless it is named."""
    result = self_map.run(seeds=2, steps=[2, 4], n=3)
    shares = result.show["walked"][10][0.3]
    assert shares.shape == (2, 2)
    assert shares[:, 0].tolist() == result["10 times, early"].tolist()
    assert shares[:, 1].tolist() == result["10 times, end of training"].tolist()
