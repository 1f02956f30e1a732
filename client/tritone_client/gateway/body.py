"""Bodies of requests, read no further than the limit."""

from starlette.requests import Request

from tritone_client.gateway.failures import TooLargeError

__all__ = ["body_of"]


async def body_of(request: Request, most_bytes: int) -> bytes:
    """The body; TooLargeError before it is read if its length is stated, or as soon as it is too long."""
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > most_bytes:
        raise _too_large(f"{int(stated)} bytes", most_bytes)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise _too_large("more", most_bytes)
        parts.append(part)
    return b"".join(parts)


def _too_large(got: str, most_bytes: int) -> TooLargeError:
    return TooLargeError(
        f"a body has at most {most_bytes} bytes, got {got}; send a part of it, a packed format such as FLAC "
        "or .npy, or use a live stream"
    )
