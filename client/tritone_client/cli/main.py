"""``tritone``: encode and decode files, on a server or in this process."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tritone_client.cli import files, gateway, streams
from tritone_client.codec import Codec
from tritone_client.errors import MissingExtraError, TritoneError
from tritone_client.info import CodecInfo
from tritone_client.served import served_codecs
from tritone_client.transport.access import Access
from tritone_client.transport.tls import Tls

__all__ = ["main"]

_EXAMPLES = """\
examples:
  tritone codecs                                list the codecs of the server
  tritone encode speech.flac tokens.npy         any sample rate, one channel or several
  tritone decode tokens.npy speech.wav
  tritone decode --rate 8000 tokens.npy call.wav        for a telephone line
  tritone encode a.wav b.wav c.wav tokens/      many files into a folder
  tritone stream tokens.npy speech.wav          frame by frame, with the time per frame
  tritone decode --local artifacts/model_repository tokens.npy speech.wav       without a server
  tritone page                                  hear the codecs in a browser
  tritone gateway --port 8080                   codecs over WebSocket and HTTP, for browsers and programs
  TRITONE_API_KEY=... tritone codecs --url speech.example:443 --tls   behind a proxy that asks for a key
  arecord -f S16_LE -r 24000 -t raw | tritone stream - - --codec mimi | aplay -f S16_LE -r 24000 -t raw
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 0 after success, 1 after a reported error, 130 if interrupted."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (TritoneError, OSError) as error:
        print(f"tritone: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "tritone", description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    listing = commands.add_parser("codecs", help="list the codecs of the server or the repository")
    listing.set_defaults(run=_codecs)
    encode = commands.add_parser("encode", help="audio files to token files (.npy, INT64 [K, T])")
    encode.set_defaults(run=_encode)
    decode = commands.add_parser("decode", help="token files (.npy, .npz, .pt, .json, text) to audio files")
    decode.set_defaults(run=_decode)
    decode.add_argument(
        "--format",
        default="wav",
        help="audio format of files in a folder, or of standard output (%(default)s)",
    )
    decode.add_argument("--rate", type=int, help="sample rate of the audio in Hz (default: the codec's)")
    stream = commands.add_parser(
        "stream", help="live streams: decode tokens, or encode and decode raw audio from standard input"
    )
    streams.add_arguments(stream)
    stream.set_defaults(run=_stream)
    page = commands.add_parser("page", help="a local web page that plays the codecs; needs the page extra")
    page.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    page.add_argument("--port", type=int, default=7860, help="port to listen on (%(default)s)")
    page.add_argument("--metrics", help="host:port of Triton's metrics (default: the server's port 8002)")
    page.set_defaults(run=_page)
    web = gateway.add_parser(commands)
    web.set_defaults(run=_gateway)
    for command in (encode, decode):
        files.add_arguments(command)
    for command in (encode, decode, stream):
        command.add_argument("--codec", help="name of the codec; may be left out if there is only one")
    for command in (listing, encode, decode, stream, page, web):
        _add_location(command)
    for command in (listing, encode, decode, stream, web):
        _add_tls(command)
    return parser


def _add_location(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--url",
        default=os.environ.get("TRITONE_URL", "127.0.0.1:8001"),
        help="gRPC address, host:port or unix:/path (default: $TRITONE_URL, else 127.0.0.1:8001)",
    )
    command.add_argument(
        "--local",
        type=Path,
        metavar="FOLDER",
        help="run the models of this repository in this process, without a server (local extra)",
    )
    command.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        help="with --local: where they run (default: where they were built for)",
    )


def _add_tls(command: argparse.ArgumentParser) -> None:
    command.add_argument("--tls", action="store_true", help="use TLS; implied by the options below")
    command.add_argument(
        "--tls-ca", type=Path, help="certificates of the authorities that vouch for the server (PEM)"
    )
    command.add_argument(
        "--tls-certificate",
        type=Path,
        help="certificate of this client, if the server requires one (PEM)",
    )
    command.add_argument("--tls-key", type=Path, help="private key of that certificate (PEM)")


def _access(options: argparse.Namespace) -> dict[str, Any]:
    """TLS and API key for :class:`Codec`; other users could read a key that is a command line option."""
    pems = (options.tls_ca, options.tls_certificate, options.tls_key)
    key = None if options.local else os.environ.get("TRITONE_API_KEY")
    try:
        tls = Tls(*pems) if options.tls or any(pems) else None
        Access(tls, key).checked([_location(options)])
    except ValueError as error:
        raise TritoneError(str(error)) from error
    _refuse_lone_device(options)
    return {"tls": tls, "api_key": key}


def _refuse_lone_device(options: argparse.Namespace) -> None:
    if options.device and not options.local:
        raise TritoneError("--device goes with --local FOLDER; a server chooses its own device")


def _location(options: argparse.Namespace) -> str | Path:
    """The folder or the address where the models run."""
    return options.local or options.url  # type: ignore[no-any-return]


def _codecs(options: argparse.Namespace) -> None:
    row = "{:<20} {:>11} {:>8} {:>12} {:>10} {:>10} {:>12}".format
    print(row("codec", "rate Hz", "channels", "frames per s", "codebooks", "entries", "bits per s"))
    access = _access(options)
    for name in served_codecs(_location(options), **access):
        with Codec(name, _location(options), **access, device=options.device) as codec:
            info = codec.info
        columns = (info.num_codebooks, info.codebook_size, round(info.bitrate_bps))
        print(row(name, _rates(info), info.num_channels, f"{info.frame_rate_hz:.2f}", *columns))


def _rates(info: CodecInfo) -> str:
    """The sample rate; if audio is encoded at another one, that rate first."""
    rates = (info.encode_sample_rate_hz, info.sample_rate_hz)
    return ">".join(str(rate) for rate in dict.fromkeys(rates))


def _encode(options: argparse.Namespace) -> None:
    target = options.target
    if len(options.source) == 1 and target.suffix.lower() not in ("", ".npy") and not target.is_dir():
        raise TritoneError(f"tokens are written as .npy, got the target {target}")
    plan = files.planned(options, "npy")
    with _opened(options) as codec:
        files.encode_files(codec, plan)


def _decode(options: argparse.Namespace) -> None:
    ending = options.format.removeprefix(".")
    plan = files.planned(options, ending)
    with _opened(options) as codec:
        files.decode_files(codec, plan, ending, options.rate)


def _stream(options: argparse.Namespace) -> None:
    if not options.overwrite:
        files.refuse_existing([Path(options.target)])
    with _opened(options) as codec:
        if options.source == "-":
            streams.encode_and_decode(codec, options)
        else:
            streams.decode(codec, files.read_tokens(Path(options.source)), options)


def _page(options: argparse.Namespace) -> None:
    try:
        from tritone_client.page.app import run
    except ImportError as error:
        raise MissingExtraError("the page", "page") from error
    _refuse_lone_device(options)
    if options.device:
        os.environ["TRITONE_DEVICE"] = options.device  # the page opens a codec for each of its actions
    run(options)


def _gateway(options: argparse.Namespace) -> None:
    gateway.run(options, _location(options), _access(options))


@contextmanager
def _opened(options: argparse.Namespace) -> Iterator[Codec]:
    name, access = options.codec, _access(options)
    if name is None:
        names = served_codecs(_location(options), **access)
        if len(names) != 1:
            raise TritoneError(f"there is {', '.join(names) or 'no codec'}; choose one with --codec")
        name = names[0]
    with Codec(name, _location(options), **access, device=options.device) as codec:
        yield codec
