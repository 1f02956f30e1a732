"""Bodies of requests, read no further than the limit."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from tritone_client.gateway.failures import IdleError, TooLargeError

__all__ = ["body_of"]


async def body_of(request: Request, most_bytes: int, limit_s: float) -> bytes:
    """The body.

    Raises:
        TooLargeError: before it is read if its length is stated, or as soon as it is too long.
        IdleError: it did not come within ``limit_s``, or the client left.
    """
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > most_bytes:
        raise _too_large(f"{int(stated)} bytes", most_bytes)
    try:
        async with asyncio.timeout(limit_s):
            return await _read(request, most_bytes)
    except ClientDisconnect:
        raise IdleError("the client left before its body had come; send it again") from None
    except TimeoutError:
        raise IdleError(
            f"the body did not come within {limit_s:g} s; send less, or use a live stream"
        ) from None


async def _read(request: Request, most_bytes: int) -> bytes:
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
