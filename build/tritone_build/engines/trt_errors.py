"""Collects the errors that TensorRT reports while it builds."""

from typing import Any

__all__ = ["error_recorder"]


def error_recorder(trt: Any) -> Any:
    """Return an IErrorRecorder of that TensorRT module; ``messages`` holds each reported error once."""

    class Recorder(trt.IErrorRecorder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.messages: list[str] = []

        def num_errors(self) -> int:
            return len(self.messages)

        def get_error_code(self, number: int) -> Any:
            return trt.ErrorCodeTRT.UNSPECIFIED_ERROR

        def get_error_desc(self, number: int) -> str:
            return self.messages[number]

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            self.messages.clear()

        def report_error(self, code: Any, description: str) -> bool:
            if description not in self.messages:
                self.messages.append(description)
            return False

    return Recorder()
