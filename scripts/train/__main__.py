"""Train nanocodec_mini, the codec that comes with Tritone, on speech that free synthesizers make here.

Needs flite and espeak-ng. A run goes on where it was stopped: call it again with the same settings.

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

from scripts.train.autoencoder import NAME, write_checkpoint
from scripts.train.plots import draw_losses
from scripts.train.sentences import HELD_OUT_SEED, TRAINING_SEED, sentences
from scripts.train.speech_synthesis import RATE_HZ, SPEECH, VOICES, SynthesizerError, spoken
from scripts.train.training import Corpus, Settings, Training, TrainingError

_HELD_OUT = 20


def main() -> int:
    """Entry point; 1 with the reason when something is missing or wrong."""
    options = _options()
    settings = Settings(**{field.name: getattr(options, field.name) for field in fields(Settings)})
    try:
        _train(settings, options, Console())
    except (SynthesizerError, TrainingError) as error:
        print(f"train_mini: {error}", file=sys.stderr)
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("artifacts/mini"), help="%(default)s")
    for field in fields(Settings):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=type(field.default), default=field.default, help="%(default)s")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done and stop")
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
    console.print("speech ...")
    corpus, held_out = (
        _corpus(texts)
        for texts in (sentences(settings.sentences, TRAINING_SEED), sentences(_HELD_OUT, HELD_OUT_SEED))
    )
    minutes = sum(len(voice) for voice in corpus.voices) / RATE_HZ / 60
    console.print(f"{minutes:.0f} minutes of speech")
    _run(training, corpus, held_out, console)
    checkpoint = write_checkpoint(training.model, options.folder / f"{NAME}.nemo")
    picture = draw_losses(training.log, options.folder / "losses.svg")
    console.print(f"written to {checkpoint}, {checkpoint.stat().st_size / 1e6:.2f} MB; losses: {picture}")


def _corpus(texts: list[str]) -> Corpus:
    return Corpus([np.concatenate(spoken(voice, texts, SPEECH)) for voice in VOICES])


def _run(training: Training, corpus: Corpus, held_out: Corpus, console: Console) -> None:
    started, first = time.monotonic(), training.step

    def tell(line: dict[str, float]) -> None:
        each = (time.monotonic() - started) / (training.step - first)
        left = each * (training.settings.steps - training.step) / 60
        losses = ", ".join(f"{name} {value:.3f}" for name, value in line.items() if name != "step")
        console.print(f"step {training.step}: {losses}; {each:.2f} s a step, {left:.0f} minutes left")

    training.run(corpus, held_out, tell)


if __name__ == "__main__":
    sys.exit(main())
