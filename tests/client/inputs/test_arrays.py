"""Everything that NumPy can view is an array; anything else is a typed error that says what it is."""

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tritone_client import AudioError, CodecInfo, TokensError
from tritone_client.inputs.arrays import utterances
from tritone_client.inputs.checks import checked_codebooks, checked_rate, checked_samples, checked_tokens
from tritone_client.streams.live import AudioInput, TokenInput

INFO = CodecInfo("toy", 22050, 1764, 4, 4032, 1, 1764, 28, True, "0" * 64, 4, 4)
TOKENS = np.arange(12).reshape(4, 3)


class Viewed:
    """An array of an unknown library."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return TOKENS


@pytest.mark.parametrize(
    "given",
    [
        TOKENS.tolist(),
        list(TOKENS),
        tuple(map(tuple, TOKENS.tolist())),
        np.asfortranarray(TOKENS),
        memoryview(TOKENS),  # type: ignore[arg-type]
        torch.tensor(TOKENS),
        list(torch.tensor(TOKENS)),
        [list(row) for row in torch.tensor(TOKENS)],
        Viewed(),
    ],
    ids=[
        "lists",
        "rows",
        "tuples",
        "fortran",
        "memory",
        "torch",
        "rows of torch",
        "scalars of torch",
        "other",
    ],
)
def test_tokens_come_as_anything_that_numpy_can_view(given: Any) -> None:
    assert checked_tokens(given, INFO).tolist() == TOKENS.tolist()
    assert TokenInput(INFO).checked(given).tolist() == TOKENS.tolist()
    (one,), several = utterances(given, axes=2)
    assert not several
    assert checked_tokens(one, INFO).tolist() == TOKENS.tolist()
    many, several = utterances([given, given], axes=2)
    assert (several, len(many)) == (True, 2)


@pytest.mark.parametrize(
    "given",
    [
        [0.5] * 2000,
        array("d", [0.5] * 2000),
        torch.full((2000,), 0.5),
        torch.full((2000,), 0.5, dtype=torch.float16),
        torch.full((2000,), 0.5, dtype=torch.bfloat16),
        torch.full((2000,), 0.5, requires_grad=True),
        [torch.tensor(0.5)] * 2000,
    ],
    ids=["list", "array", "torch", "half", "bfloat16", "with gradients", "scalars of torch"],
)
def test_audio_comes_as_anything_that_numpy_can_view(given: Any) -> None:
    assert checked_samples(given).tolist() == [0.5] * 2000
    assert len(AudioInput(INFO, 22050).checked(given)) == 2000
    (one,), several = utterances(given, axes=1)
    assert not several
    assert len(checked_samples(one)) == 2000
    many, several = utterances([given, given], axes=1)
    assert (several, len(many)) == (True, 2)


def test_numbers_of_other_libraries_have_their_own_bfloat16() -> None:
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    assert checked_samples(np.full(3, 0.5).astype(bfloat16)).tolist() == [0.5] * 3


def test_arrays_of_one_channel_in_a_list_are_utterances_of_a_stereo_codec() -> None:
    mono = np.zeros(2000)
    assert utterances([mono, mono], axes=2, whole_arrays=True).several
    assert utterances([np.zeros((2, 2000))], axes=2, whole_arrays=True).several
    assert not utterances([[0.0] * 2000, [0.5] * 2000], axes=2, whole_arrays=True).several


def test_a_generator_gives_utterances_one_after_the_other() -> None:
    items, several = utterances((each for each in [TOKENS, TOKENS]), axes=2)
    assert (len(items), several) == (2, True)
    assert utterances([], axes=2) == ([], True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "got NoneType"),
        ("tokens.npy", "got the str 'tokens.npy'; if that is a file, read it first"),
        (Path("tokens.npy"), "'tokens.npy'; if that is a file, read it first"),
        (b"1234", "got 4 bytes; give them a type with numpy.frombuffer"),
        ({"codes": TOKENS}, "got a dict with 'codes'; pass one array of it"),
        ({1, 2}, "got set"),
        (iter([1, 2]), "got list_iterator"),
        ([[1, 2], [3]], "cannot view a list of 2, 1 to 2 in each"),
        (torch.zeros((4, 3), dtype=torch.int64, device="meta"), r"cannot view Tensor \[4, 3\]: .*no data"),
    ],
    ids=["None", "str", "path", "bytes", "dict", "set", "iterator", "ragged", "without data"],
)
@pytest.mark.parametrize(
    ("check", "error"),
    [
        (lambda given: checked_tokens(given, INFO), TokensError),
        (TokenInput(INFO).checked, TokensError),
        (checked_samples, AudioError),
        (AudioInput(INFO, 22050).checked, AudioError),
    ],
    ids=["tokens", "stream of tokens", "audio", "stream of audio"],
)
def test_what_is_no_array_is_reported(
    given: Any, message: str, check: Callable[[Any], Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match=message):
        check(given)


@pytest.mark.parametrize(
    ("check", "given", "message"),
    [
        (checked_tokens, np.zeros(2000, np.float32), "if that is audio, encode it"),
        (checked_tokens, TOKENS.T, r"got \[3, 4\]; if they are \[T, K\], pass their transpose"),
        (checked_tokens, TOKENS[None], r"take tokens\[0\] of a batch of one"),
        (checked_tokens, TOKENS > 1, "integers, got bool"),
        (checked_tokens, [[2**70] * 3] * 4, "integers, got object"),
        (checked_samples, TOKENS, "if these int64 are tokens, decode them"),
        (checked_samples, np.zeros((1, 1, 2000)), "drop its axes of length 1"),
        (checked_samples, np.zeros(2000, np.int32), "divide int32 by 2147483648"),
        (checked_samples, np.zeros(2000, complex), "got complex128"),
        (checked_samples, np.full(2000, 1e300), "must be finite, got 2000"),
    ],
)
def test_what_was_probably_meant_is_reported(check: Callable[..., Any], given: Any, message: str) -> None:
    with pytest.raises((TokensError, AudioError), match=message):
        check(given, *([INFO] if check is checked_tokens else []))


@pytest.mark.parametrize("rate", [0, -1, 0.5, float("nan"), float("inf"), None, "22050", [22050]])
def test_a_sample_rate_is_a_positive_whole_number(rate: Any) -> None:
    with pytest.raises(AudioError, match="a sample rate is a positive number of Hz"):
        checked_rate(rate)


def test_numbers_of_other_libraries_are_taken() -> None:
    assert checked_rate(np.float64(44100.0)) == checked_rate(torch.tensor(44100)) == 44100
    assert checked_codebooks(np.int64(4), INFO) == checked_codebooks(torch.tensor(4), INFO) == 4  # type: ignore[arg-type]
    for number in ("4", 4.0, [4]):
        with pytest.raises(TokensError, match="encodes into 4 codebooks, got"):
            checked_codebooks(number, INFO)  # type: ignore[arg-type]
