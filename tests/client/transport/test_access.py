"""API key and trace accompany every call; a key is never sent where others could read it."""

import pytest
from opentelemetry.sdk.trace import TracerProvider

from tritone_client import Codec, Tls
from tritone_client.transport.access import Access


def test_a_key_is_not_sent_in_the_clear() -> None:
    with pytest.raises(ValueError, match=r"would travel to speech\.example:8001 in the clear: give tls"):
        Codec("mimi", ["127.0.0.1:8001", "speech.example:8001"], api_key="secret")
    for url in ("127.0.0.1:8001", "localhost:8001", "[::1]:8001"):
        assert Access(api_key="secret").checked([url]).headers() == {"authorization": "Bearer secret"}
    assert Access(Tls(), "secret").checked(["speech.example:8001"])


@pytest.mark.parametrize("key", ["", "two\nlines", "schl\u00fcssel"])
def test_a_key_that_no_header_can_carry_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="one line of printable ASCII"):
        Access(api_key=key).checked([])


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(Access(api_key="secret"))


def test_calls_belong_to_the_span_that_is_current() -> None:
    assert "traceparent" not in Access().headers()
    with TracerProvider().get_tracer("test").start_as_current_span("spoken") as span:
        trace = f"{span.get_span_context().trace_id:032x}"
        assert trace in Access().headers()["traceparent"]
