"""Frames from the flat sequence of tokens that a language model writes."""

import numpy as np
import pytest
import torch

from tritone_client import TokensError
from tritone_client.adapters.kanitts import codes_of
from tritone_client.inputs.frames import frames_of

IDS = np.arange(40) % 4 * 4032 + 64410 + np.arange(40)


def test_codes_of_kanitts_tokens() -> None:
    token_ids = [64410 + 5, 64410 + 4032 + 6, 64410 + 2 * 4032 + 7, 64410 + 3 * 4032 + 4031]
    assert codes_of(token_ids).tolist() == [[5, 6, 7, 4031]]
    assert codes_of(torch.tensor([token_ids])).tolist() == [[5, 6, 7, 4031]]
    assert codes_of([]).shape == (0, 4)


def test_generation_that_ends_in_the_middle_of_a_frame_is_reported() -> None:
    with pytest.raises(TokensError, match=r"38 tokens are 9 frames of 4 and 2 more; .*drop_remainder=True"):
        codes_of(IDS[:38])
    with pytest.raises(TokensError, match=r"3 tokens are 0 frames of 8 and 3 more"):
        frames_of([1, 2, 3], 8)


def test_a_last_frame_that_is_not_full_can_be_left_out() -> None:
    assert codes_of(IDS[:38], drop_remainder=True).tolist() == codes_of(IDS[:36]).tolist()
    assert codes_of(IDS, drop_remainder=True).tolist() == codes_of(IDS).tolist()
    assert codes_of(IDS[:3], drop_remainder=True).shape == (0, 4)


@pytest.mark.parametrize("wrong", [[1.5, 2.5], "audio", None, [[1, 2], [3]]])
def test_what_are_no_tokens_is_reported(wrong: object) -> None:
    with pytest.raises(TokensError, match="tokens are integers"):
        frames_of(wrong, 2)  # type: ignore[arg-type]
