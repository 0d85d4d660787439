import pickle

import numpy as np
import pytest
import torch

from encoders import VideoEncoder, create_encoder
from encoders.augment import second_view


@pytest.fixture(scope="module")
def encoder():
    return create_encoder("timm:test_efficientnet")


def test_the_second_view_is_mirrored_and_closer_and_shares_the_weights(encoder):
    picture = np.zeros((200, 200, 3), np.uint8)
    picture[:, :100] = 255  # white on the left
    first, second = encoder.preprocess(picture), second_view(encoder).preprocess(picture)

    assert first.shape == second.shape
    assert first[0, 80, 10] > 200 and second[0, 80, 10] < 50
    assert second_view(encoder).tower is encoder.tower
    assert encoder.preprocess(picture).equal(first)  # the first view is as it was


def test_the_second_view_of_a_video_has_other_frames(encoder):
    video = VideoEncoder(encoder, num_frames=2)
    frames = [np.full((64, 64, 3), 10 * n, np.uint8) for n in range(8)]
    first, second = video.preprocess(frames), second_view(video).preprocess(frames)

    assert first.shape == second.shape
    assert not set(first[:, 0, 0, 0].tolist()) & set(second[:, 0, 0, 0].tolist())
    assert second_view(video).preprocess(frames[:1]).shape[0] == 2


def test_views_travel_to_workers_and_a_text_has_none(encoder):
    function = pickle.loads(pickle.dumps(second_view(encoder).preprocessing))
    assert torch.is_tensor(function(np.zeros((50, 50, 3), np.uint8)))
    with pytest.raises(ValueError, match="text has no second view"):
        second_view(create_encoder("tfidf"))
