"""Train nanocodec_mini, the codec that comes with Tritone, on speech from two free synthesizers.

The programs flite and espeak-ng must be installed. A stopped run continues when the command is called again
with the same settings. The folder then holds the checkpoint, the log, and a plot of the losses.

Examples:
  .venv/bin/python -m scripts.train --dry-run
  .venv/bin/python -m scripts.train
  .venv/bin/python -m scripts.train --device cuda --folder artifacts/mini-gpu
"""

import argparse
import sys
import time
from dataclasses import fields
from pathlib import Path

import numpy as np
from rich.console import Console

from scripts.common.cli import argument_parser
from scripts.train.autoencoder import NAME, write_checkpoint
from scripts.train.plots import plot_losses
from scripts.train.sentences import HELD_OUT_SEED, TRAINING_SEED, sentences
from scripts.train.speech_synthesis import RATE_HZ, SPEECH, VOICES, SynthesizerError, synthesized
from scripts.train.training import SETTINGS_HELP, Corpus, Settings, Training, TrainingError

_HELD_OUT_SENTENCES = 20


def main() -> int:
    """Entry point; returns 1 with the reason when a synthesizer is missing or the run cannot go on."""
    options = _options()
    settings = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})
    try:
        _train(settings, options, Console())
    except (SynthesizerError, TrainingError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argument_parser("scripts.train", __doc__)
    parser.add_argument(
        "--folder", type=Path, default=Path("artifacts/mini"), help="of the run (default: %(default)s)"
    )
    for field in fields(Settings):
        name, meaning = "--" + field.name.replace("_", "-"), f"{SETTINGS_HELP[field.name]} (%(default)s)"
        parser.add_argument(name, type=type(field.default), default=field.default, help=meaning)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the size of the network and the steps of the run, and stop",
    )
    return parser.parse_args()


def _train(settings: Settings, options: argparse.Namespace, console: Console) -> None:
    training = Training(settings, options.folder, options.device)
    weights = sum(parameter.numel() for parameter in training.model.parameters())
    console.print(
        f"{NAME}: {weights / 1e6:.2f} million weights, {settings.sentences} sentences by "
        f"{', '.join(voice.name for voice in VOICES)}; steps {training.step} to {settings.steps}"
    )
    if options.dry_run:
        return
    console.print("synthesizing speech ...")
    corpus, held_out = (
        _corpus(texts)
        for texts in (
            sentences(settings.sentences, TRAINING_SEED),
            sentences(_HELD_OUT_SENTENCES, HELD_OUT_SEED),
        )
    )
    minutes = sum(len(voice) for voice in corpus.voices) / RATE_HZ / 60
    console.print(f"{minutes:.0f} minutes of speech")
    _run(training, corpus, held_out, console)
    checkpoint = write_checkpoint(training.model, options.folder / f"{NAME}.nemo")
    plot = plot_losses(training.log, options.folder / "losses.svg")
    console.print(f"written to {checkpoint}, {checkpoint.stat().st_size / 1e6:.2f} MB; losses: {plot}")


def _corpus(texts: list[str]) -> Corpus:
    return Corpus([np.concatenate(synthesized(voice, texts, SPEECH)) for voice in VOICES])


def _run(training: Training, corpus: Corpus, held_out: Corpus, console: Console) -> None:
    started, first = time.monotonic(), training.step

    def print_progress(line: dict[str, float]) -> None:
        step_s = (time.monotonic() - started) / (training.step - first)
        left_min = step_s * (training.settings.steps - training.step) / 60
        losses = ", ".join(f"{name} {value:.3f}" for name, value in line.items() if name != "step")
        console.print(f"step {training.step}: {losses}; {step_s:.2f} s a step, {left_min:.0f} minutes left")

    training.run(corpus, held_out, print_progress)


if __name__ == "__main__":
    sys.exit(main())
