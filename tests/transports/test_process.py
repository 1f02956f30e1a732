"""Codecs in this process: the same audio as on a server, and errors that only occur in this process."""

import asyncio
import os
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.signals import sound, tokens_of

from scripts.common.small_codecs import CAUSAL, SMALL
from tritone_client import (
    AsyncCodec,
    Codec,
    CodecNotOpenError,
    RepositoryError,
    Tls,
    UnknownCodecError,
    served_codecs,
)
from tritone_client.cli.main import main
from tritone_server.launcher import TritonServer

NAME = "small_nanocodec"


@pytest.mark.parametrize("name", SMALL)
def test_what_is_alone_in_its_batch_equals_the_servers_bit_for_bit(
    name: str, server: TritonServer, repository: Path
) -> None:
    with Codec(name, server.url) as there, Codec(name, repository) as here:
        assert (here.info, here.stream_info) == (there.info, there.stream_info)
        audio = sound(there.info, 20.5)
        tokens = there.encode(audio, there.info.encode_sample_rate_hz)
        assert np.array_equal(here.encode(audio, here.info.encode_sample_rate_hz), tokens)
        assert np.array_equal(here.decode(tokens), there.decode(tokens))
        streamed = [np.concatenate(list(each.stream(iter(tokens.T))), axis=-1) for each in (here, there)]
        assert np.array_equal(streamed[0], streamed[1])


def ran(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_neither_triton_nor_grpc_is_imported(repository: Path) -> None:
    message = ran(
        """
        import sys
        from pathlib import Path
        import numpy as np
        import tritone_client
        assert not [name for name in ("onnxruntime", "tritone_runtime", "grpc") if name in sys.modules]
        with tritone_client.Codec("small_mimi", Path(sys.argv[1])) as codec:
            codec.decode(np.zeros((8, 3), int))
            list(codec.stream(np.zeros((8, 3), int).T))
        print([name for name in ("grpc", "google.protobuf", "tritonclient", "onnx") if name in sys.modules])
        """,
        str(repository),
    )
    assert message == "[]\n"


def test_after_a_fork_the_child_opens_its_own(repository: Path) -> None:
    message = ran(
        """
        import os, sys
        from pathlib import Path
        import numpy as np
        from tritone_client import Codec, CodecNotOpenError
        tokens, place = np.zeros((4, 3), int), Path(sys.argv[1])
        codec = Codec("small_nanocodec", place)
        stream = codec.decode_stream()
        before = stream.push(tokens)
        whole = codec.decode(tokens)
        child = os.fork()
        if child == 0:
            for call in (lambda: codec.decode(tokens), lambda: stream.push(tokens)):
                try:
                    call()
                except CodecNotOpenError as error:
                    print(error)
            own = Codec("small_nanocodec", place)
            with own.decode_stream() as fresh:
                print(np.array_equal(own.decode(tokens), whole), np.array_equal(fresh.push(tokens), before))
            sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(len(stream.push(tokens)))
        """,
        str(repository),
    )
    closed, stream, *rest = message.splitlines()
    assert closed.startswith("Codec('small_nanocodec') was opened in another process")
    assert stream.startswith("the stream was opened in another process")
    assert rest == ["True True", "147"]


def test_a_child_of_a_fork_ends_as_any_process(repository: Path) -> None:
    said = ran(
        """
        import os, sys
        from pathlib import Path
        import numpy as np
        from tritone_client import Codec
        codec = Codec("small_nanocodec", Path(sys.argv[1]))
        codec.decode(np.zeros((4, 3), int))
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            print("the child ends")
            sys.exit(3)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        str(repository),
    )
    assert said == "the child ends\n3\n"


def test_the_interpreter_ends_while_daemon_threads_decode(repository: Path) -> None:
    said = ran(
        """
        import asyncio, atexit, sys, threading
        from pathlib import Path
        import numpy as np
        from tritone_client import AsyncCodec, Codec, ServerRefusedError
        name, place, tokens = "small_nanocodec", Path(sys.argv[1]), np.zeros((4, 300), int)

        def whole(begun):
            with Codec(name, place) as codec:
                while codec.decode(tokens) is not None:
                    begun.release()

        def live(begun):
            with Codec(name, place) as codec, codec.decode_stream() as stream:
                while stream.push(tokens) is not None:
                    begun.release()

        async def task(begun):
            async with AsyncCodec(name, place) as codec, codec.decode_stream() as stream:
                while await stream.push(tokens) is not None:
                    begun.release()

        def late():
            stream.close()
            try:
                codec.decode(tokens)
            except ServerRefusedError as error:
                print(error)

        atexit.register(late)
        codec = Codec(name, place)
        stream = codec.decode_stream()
        stream.push(tokens)
        for work in (whole, live, lambda begun: asyncio.run(task(begun))):
            begun = threading.Semaphore(0)
            threading.Thread(target=work, args=(begun,), daemon=True).start()
            begun.acquire()
        """,
        str(repository),
    )
    assert "the interpreter is about to end: no model runs any more" in said


def test_a_stream_of_a_task_begins_while_all_threads_of_the_loop_are_taken(repository: Path) -> None:
    async def begun() -> int:
        async with AsyncCodec(NAME, repository) as codec:
            tokens, free = tokens_of(codec.info, 9), threading.Event()
            async with codec.decode_stream() as first:
                await first.push(tokens)
            with ThreadPoolExecutor(1) as pool:
                asyncio.get_running_loop().set_default_executor(pool)
                taken = asyncio.create_task(asyncio.to_thread(free.wait))
                await asyncio.sleep(0)
                try:
                    async with asyncio.timeout(60), codec.decode_stream() as second:
                        return len(await second.push(tokens))
                finally:
                    free.set()
                    await taken

    assert asyncio.run(begun()) == 441


def test_two_processes_use_one_repository(repository: Path) -> None:
    program = """
        import sys
        from pathlib import Path
        from tritone_client import Codec
        import numpy as np
        print(repr(float(Codec("small_mimi", Path(sys.argv[1])).decode(np.ones((8, 9), int)).sum())))
        """
    with Codec("small_mimi", repository) as codec:
        assert ran(program, str(repository)) == f"{float(codec.decode(np.ones((8, 9), int)).sum())!r}\n"


def test_a_folder_that_is_no_repository_is_reported(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        with pytest.raises(RepositoryError, match="'tritone-build models NAME"):
            Codec(NAME, place)
        with pytest.raises(RepositoryError, match="'tritone-build models NAME"):
            served_codecs(place)


def test_a_codec_that_is_not_there_is_reported_with_those_that_are(repository: Path) -> None:
    with pytest.raises(UnknownCodecError, match=r"in this process does not serve codec 'nope'; .*small_lfsc"):
        Codec("nope", repository)


def test_engines_are_refused_without_a_gpu() -> None:
    with pytest.raises(RepositoryError, match=r"TensorRT engine.*tritone-build models nanocodec_mini"):
        Codec("nanocodec_mini", ROOT / "model_repository")


def test_what_is_for_servers_is_refused(repository: Path) -> None:
    for given in ({"api_key": "key"}, {"tls": Tls()}):
        with pytest.raises(ValueError, match="are for servers"):
            Codec(NAME, repository, **given)


def test_a_stream_goes_on_when_its_codec_is_closed_and_another_opened(repository: Path) -> None:
    with Codec(NAME, repository) as codec:
        tokens = tokens_of(codec.info, 9)
        whole = codec.decode(tokens)
        stream = codec.decode_stream()
        first = stream.push(tokens[:, :4])
    with Codec(NAME, repository):
        rest = stream.push(tokens[:, 4:])
    assert np.allclose(np.concatenate([first, rest]), whole, atol=1e-5)
    with pytest.raises(CodecNotOpenError):
        codec.decode(tokens)


@pytest.mark.parametrize("name", CAUSAL[:1])
def test_the_command_needs_no_server(name: str, repository: Path, tmp_path: Path) -> None:
    tokens, audio = tmp_path / "tokens.npy", tmp_path / "speech.wav"
    speech, local = str(ROOT / "samples/speech.wav"), ["--local", str(repository), "--codec", name]
    assert main(["encode", speech, str(tokens), *local]) == 0
    assert main(["decode", str(tokens), str(audio), *local]) == 0
    assert main(["stream", str(tokens), str(tmp_path / "live.wav"), *local]) == 0
    assert audio.stat().st_size == (tmp_path / "live.wav").stat().st_size
    assert main(["codecs", "--local", str(repository)]) == 0
    assert os.environ.get("TRITONE_URL") is None
