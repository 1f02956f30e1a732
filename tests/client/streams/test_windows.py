"""Windows of long inputs: every frame is kept once, with all the context that the model needs."""

from hypothesis import given
from hypothesis import strategies as st

from tritone_client.streams.windows import Window, windows


@given(
    frames=st.integers(1, 500),
    longest=st.integers(1, 60),
    lookaround=st.integers(0, 40),
    causal=st.booleans(),
)
def test_windows_cover_everything_once_with_full_context(
    frames: int, longest: int, lookaround: int, causal: bool
) -> None:
    plan = windows(frames, longest, lookaround, causal)
    kept = [frame for window in plan for frame in range(window.keep_start, window.keep_stop)]
    assert kept == list(range(frames))
    for window in plan:
        assert 0 < window.keep_stop - window.keep_start <= longest
        assert window.send_start == max(0, window.keep_start - lookaround)
        assert window.send_stop == min(frames, window.keep_stop + (0 if causal else lookaround))


def test_short_inputs_go_in_one_piece() -> None:
    assert windows(200, 200, 28, causal=True) == [Window(0, 200, 0, 200)]


def test_long_inputs_go_in_equal_shares() -> None:
    plan = windows(450, 200, 28, causal=True)
    assert [window.keep_stop - window.keep_start for window in plan] == [150, 150, 150]
    assert plan[1].kept == (28, 178)
