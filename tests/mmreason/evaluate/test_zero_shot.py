import numpy as np
import pytest

from mmreason.evaluate.zero_shot import attribute_values, classify, prompts
from mmreason.schema import DataError, Item


def test_classify_by_hand():
    pictures = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.6, 0.4]], np.float32)
    found = classify(pictures, np.eye(2, dtype=np.float32), [0, 0, 1, 1])
    assert (found["accuracy"].hits, found["accuracy"].total) == (3, 4)
    assert found["balanced"] == pytest.approx((1 + 0.5) / 2) and found["most frequent"] == 0.5
    with pytest.raises(DataError, match="2 labels"):
        classify(pictures, np.eye(2, dtype=np.float32), [0, 1])


def test_prompts_and_values():
    assert "color: Red" in prompts("color", "Red") and "Red Hoodie" in prompts("color", "Red", ["Hoodie"])
    items = [
        Item("a", attributes={"fit": ["slim"]}, hidden={"color": ["red"]}),
        Item("b", attributes={"fit": ["a"]}),
    ]
    assert attribute_values(items) == {"color": ["red"], "fit": ["a", "slim"]}
