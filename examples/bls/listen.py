"""Listen to the model ``speech``, which speaks with a codec of the same server.

  tritone-serve nanocodec --also examples/bls/speech
  python -m examples.bls.listen frames.npy speech.wav --url 127.0.0.1:8001

``frames.npy`` holds integers [T, K]; it stands for a prompt.
"""

import argparse
import queue
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from tritonclient.grpc import InferenceServerClient, InferInput

__all__ = ["main", "speech"]


def speech(url: str, frames: NDArray[np.int64], timeout_s: float = 120) -> list[NDArray[np.float32]]:
    """The audio of each frame [T, K], as the model answers."""
    answers: queue.Queue[tuple[Any, Any]] = queue.Queue()
    given = InferInput("frames", list(frames.shape), "INT64")
    given.set_data_from_numpy(frames)
    pieces: list[NDArray[np.float32]] = []
    with InferenceServerClient(url) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("speech", [given], enable_empty_final_response=True)
        while True:
            result, error = answers.get(timeout=timeout_s)
            if error is not None:
                raise error
            audio = result.as_numpy("audio")
            if audio is not None:
                pieces.append(audio)
            if result.get_response().parameters["triton_final_response"].bool_param:
                client.stop_stream()
                return pieces


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        "examples.bls.listen", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("frames", type=Path, help=".npy file with integers [T, K]")
    parser.add_argument("output", type=Path, help="WAV file to write")
    parser.add_argument("--url", default="127.0.0.1:8001", help="address of the server (%(default)s)")
    parser.add_argument("--sample-rate", type=int, default=22050, help="of the codec, in Hz (%(default)s)")
    options = parser.parse_args()
    pieces = speech(options.url, np.load(options.frames).astype(np.int64))
    soundfile.write(options.output, np.concatenate(pieces), options.sample_rate)
    print(f"{len(pieces)} frames, {sum(map(len, pieces)) / options.sample_rate:.2f} s: {options.output}")


if __name__ == "__main__":
    main()
