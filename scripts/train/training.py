"""A training loop that can be resumed; the data of a step depend on the seed and its number alone."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scripts.train.autoencoder import Autoencoder
from scripts.train.losses import envelope_loss, mel_loss, wave_loss
from scripts.train.optimizers import Optimizers

__all__ = ["LOSSES", "SETTINGS_HELP", "Corpus", "Settings", "Training", "TrainingError"]

LOSSES = ("mel", "wave", "envelope")
_MEL_START, _MEL_END, _MEL_RAMP_STEPS = 12.0, 40.0, 6000
"""Weight of the mel loss at first, at last, and the steps over which it rises; pitch is learned first."""
_WAVE, _ENVELOPE = 20.0, 40.0
_MAX_GRADIENT_NORM = 100.0
_WARM_UP = 200
_COOL_DOWN, _LATER_COOL_DOWN = 0.3, 0.7
"""Share of a part's steps over which the learning rate falls: in the first part, and in later ones."""
_GAINS_DB = (-10.0, 3.0)
_HELD_OUT_STEP = 10**9
"""Held-out batches are drawn as if for this step and the next ones, which no run reaches."""

Audio = NDArray[np.float32]


class TrainingError(RuntimeError):
    """A run cannot be resumed with these settings, or its loss is no longer finite."""


@dataclass(frozen=True)
class Settings:
    """Everything that the result of a run depends on; :data:`SETTINGS_HELP` says what each field is.

    The first part of a run is followed by shorter ones. Each of these restarts the learning rate at its full
    height, and adds the loss on envelopes.
    """

    seed: int = 0
    steps: int = 25000
    first: int = 20000
    part: int = 5000
    batch: int = 8
    frames: int = 16
    learning_rate: float = 7e-4
    sentences: int = 400

    def rate_at(self, step: int) -> float:
        """Learning rate at a step: each part has a warm-up, a plateau, and a linear fall to zero."""
        start, end, cool = 0, self.first, _COOL_DOWN
        if step >= self.first:
            start = self.first + (step - self.first) // self.part * self.part
            end, cool = start + self.part, _LATER_COOL_DOWN
        cooling = (end - step) / max(1, round(cool * (end - start)))
        return self.learning_rate * min(1.0, (step - start + 1) / _WARM_UP, cooling)

    def weights_at(self, step: int) -> dict[str, float]:
        """Weights of the losses at a step, by name."""
        mel = _MEL_START + (_MEL_END - _MEL_START) * min(1.0, step / _MEL_RAMP_STEPS)
        return {"mel": mel, "wave": _WAVE, "envelope": _ENVELOPE * (step >= self.first)}


SETTINGS_HELP = {
    "seed": "of the initial weights and of the batches",
    "steps": "of the whole run",
    "first": "steps of the first part, which is trained without the loss on envelopes",
    "part": "steps of each later part",
    "batch": "pieces of speech in a step",
    "frames": "in each piece",
    "learning_rate": "at its highest",
    "sentences": "that each voice speaks",
}
"""What each of the settings is."""


@dataclass(frozen=True)
class Corpus:
    """Speech by voice; each voice is one signal [S], longer than a piece of a batch."""

    voices: Sequence[Audio]

    def batch(self, rows: int, samples: int, seed: int, step: int) -> Tensor:
        """Random pieces [rows, samples], from the voices in turn, each with a random gain."""
        draw = np.random.default_rng((seed, step))
        pieces = []
        for row in range(rows):
            voice = self.voices[(step * rows + row) % len(self.voices)]
            start = int(draw.integers(len(voice) - samples))
            gain = 10 ** (draw.uniform(*_GAINS_DB) / 20)
            pieces.append(np.clip(gain * voice[start : start + samples], -1, 1))
        return torch.from_numpy(np.stack(pieces).astype(np.float32))


class Training:
    """A training run in a folder, with ``state.pt`` to resume from and a log of its losses, ``log.jsonl``."""

    def __init__(self, settings: Settings, folder: Path, device: str = "cpu"):
        self.settings, self.folder, self.device, self.step = settings, folder, device, 0
        self.model = Autoencoder(settings.seed).to(device)
        self.optimizers = Optimizers(self.model)
        self._state, self.log = folder / "state.pt", folder / "log.jsonl"
        if self._state.exists():
            self._resume()

    def _resume(self) -> None:
        state: dict[str, Any] = torch.load(self._state, map_location=self.device, weights_only=True)
        new, old = asdict(self.settings), state["settings"]
        differing = [f"{key} was {old.get(key)}, is {new[key]}" for key in new if old.get(key) != new[key]]
        if differing:
            raise TrainingError(
                f"{self.folder} holds a run with other settings: {'; '.join(differing)}; "
                "give the same settings to resume it, or another --folder for a new run"
            )
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizers.load_state_dict(state["optimizers"])
        self._drop_unsaved_lines()

    def _drop_unsaved_lines(self) -> None:
        """Remove the log's lines of steps after the saved one."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        kept = [line for line in lines if json.loads(line)["step"] <= self.step]
        self.log.write_text("".join(f"{line}\n" for line in kept))

    def save(self) -> None:
        """Write ``state.pt`` atomically."""
        partial = self._state.with_suffix(".partial")
        state = {
            "settings": asdict(self.settings),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizers": self.optimizers.state_dict(),
        }
        torch.save(state, partial)
        os.replace(partial, self._state)

    def run(
        self,
        corpus: Corpus,
        held_out: Corpus,
        on_log: Callable[[dict[str, float]], None],
        log_every: int = 100,
        save_every: int = 500,
    ) -> None:
        """Train to the last step.

        Args:
            corpus: to train on.
            held_out: to measure the losses on, before each save.
            on_log: gets every line of the log, with the mean losses since the line before.
            log_every: steps.
            save_every: steps.

        Raises:
            TrainingError: the loss is no longer finite.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        recent: list[dict[str, float]] = []
        while self.step < self.settings.steps:
            recent.append(self._train(self._batch(corpus, self.step)))
            self.step += 1
            last = self.step == self.settings.steps
            if self.step % log_every == 0 or last:
                line = {"step": float(self.step)} | _mean(recent)
                if self.step % save_every == 0 or last:
                    line |= {f"held_out_{name}": loss for name, loss in self._measure(held_out).items()}
                self._log(line)
                on_log(line)
                recent = []
            if self.step % save_every == 0 or last:
                self.save()

    def _batch(self, corpus: Corpus, step: int) -> Tensor:
        samples = self.settings.frames * self.model.hop
        return corpus.batch(self.settings.batch, samples, self.settings.seed, step).to(self.device)

    def _losses(self, audio: Tensor) -> dict[str, Tensor]:
        pair = self.model(audio), audio, self.model.rate_hz
        return {"mel": mel_loss(*pair), "wave": wave_loss(*pair), "envelope": envelope_loss(*pair)}

    def _train(self, audio: Tensor) -> dict[str, float]:
        losses, weights = self._losses(audio), self.settings.weights_at(self.step)
        self.model.zero_grad(set_to_none=True)
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        total.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), _MAX_GRADIENT_NORM)
        if not torch.isfinite(total + norm):
            raise TrainingError(f"step {self.step}: the loss is not finite; lower --learning-rate")
        self.optimizers.step(self.settings.rate_at(self.step))
        return {name: float(loss.detach()) for name, loss in losses.items()} | {"gradient": float(norm)}

    @torch.no_grad()
    def _measure(self, corpus: Corpus) -> dict[str, float]:
        return _mean(
            [
                {
                    name: float(loss)
                    for name, loss in self._losses(self._batch(corpus, _HELD_OUT_STEP + n)).items()
                }
                for n in range(4)
            ]
        )

    def _log(self, line: dict[str, float]) -> None:
        rounded = {name: round(value, 4) for name, value in line.items()} | {"step": int(line["step"])}
        with self.log.open("a") as file:
            file.write(json.dumps(rounded) + "\n")


def _mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
