"""The training of the default checkpoint: text, speech, losses, a run that can be resumed, a real file."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.paths import ROOT

from scripts.train.autoencoder import NAME, Autoencoder, write_checkpoint
from scripts.train.losses import envelope_loss, mel_distance, mel_loss, wave_loss
from scripts.train.optimizers import Optimizers
from scripts.train.plots import plot_losses
from scripts.train.sentences import sentences
from scripts.train.speech_synthesis import VOICES, Synthesizer, SynthesizerError, Voice
from scripts.train.training import Corpus, Settings, Training, TrainingError
from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_build.codecs import load_codec
from tritone_build.state import whole

RATE_HZ = 22050
SHORT = Settings(steps=4, batch=2, frames=2)


def corpus(seed: int) -> Corpus:
    draw = np.random.default_rng(seed)
    return Corpus([(0.05 * draw.standard_normal(8000)).astype(np.float32) for _ in range(2)])


def run(training: Training, log_every: int = 2, save_every: int = 2) -> list[dict[str, float]]:
    lines: list[dict[str, float]] = []
    training.run(corpus(0), corpus(1), lines.append, log_every, save_every)
    return lines


def interrupt_after_step_3(line: dict[str, float]) -> None:
    """Step 3 is logged but not yet saved."""
    if line["step"] == 3:
        raise KeyboardInterrupt


def weights(training: Training) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in training.model.parameters()])


def test_sentences_are_different_complete_and_repeatable() -> None:
    made = sentences(500, seed=3)
    assert made == sentences(600, seed=3)[:500]
    assert len(set(made)) == 500
    assert not [text for text in made if re.search(r"[{}\d]", text) or not text[0].isupper()]
    assert not set(made) & set(sentences(500, seed=4))


def test_speech_is_synthesized_once_at_an_even_loudness(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ROOT / "samples" / "speech.wav"
    monkeypatch.setattr(Voice, "command", lambda *arguments: ["cp", str(source), str(arguments[-1])])
    audio = Synthesizer(VOICES[0], tmp_path)("Once only.")
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(0.08, rel=0.01)
    monkeypatch.setattr(Voice, "command", lambda *arguments: ["false"])
    np.testing.assert_array_equal(Synthesizer(VOICES[0], tmp_path)("Once only."), audio)
    with pytest.raises(SynthesizerError, match="false failed on 'Something else"):
        Synthesizer(VOICES[0], tmp_path)("Something else.")


@pytest.mark.parametrize(
    "voice",
    [
        pytest.param(voice, marks=pytest.mark.needs(voice.package), id=voice.package)
        for voice in (VOICES[0], VOICES[-1])
    ],
)
def test_every_synthesizer_speaks(voice: Voice, tmp_path: Path) -> None:
    audio = Synthesizer(voice, tmp_path)("It was quiet at school.")
    assert len(audio) > RATE_HZ / 2
    assert np.sqrt(np.mean(audio**2)) == pytest.approx(0.08, rel=0.01)


@pytest.mark.parametrize("voice", [VOICES[0], VOICES[-1]], ids=lambda voice: voice.package)
def test_a_missing_synthesizer_is_named_with_its_package(
    voice: Voice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SynthesizerError, match=f"install the package {voice.package}"):
        Synthesizer(voice, tmp_path)("Hello.")


def test_losses_are_zero_for_equal_sound_and_grow_with_the_difference() -> None:
    torch.manual_seed(0)
    sound, noise = 0.1 * torch.randn(2, 8192), 0.1 * torch.randn(2, 8192)
    degraded = [sound + share * noise for share in (0, 0.1, 1)]
    for values in (
        [float(mel_loss(each, sound, RATE_HZ)) for each in degraded],
        [float(wave_loss(each, sound, RATE_HZ)) for each in degraded],
        [float(envelope_loss(each, sound, RATE_HZ)) for each in degraded],
    ):
        assert values[0] == pytest.approx(0, abs=1e-4)
        assert 0 < values[1] < values[2]


def test_inaudible_differences_count_for_nothing() -> None:
    torch.manual_seed(0)
    hiss, hum = 1e-6 * torch.randn(2, 1, 8192)
    assert float(mel_loss(hiss, hum, RATE_HZ)) < 1e-3
    assert float(mel_loss(1e5 * hiss, hum, RATE_HZ)) > 0.5


def test_loudness_and_silence_do_not_count_in_the_envelope_loss_but_shape_does() -> None:
    torch.manual_seed(0)
    seconds = torch.arange(16384) / RATE_HZ
    noise = 0.1 * torch.randn(1, 16384)
    modulated = noise * (1 + torch.sin(2 * torch.pi * 6 * seconds))
    assert float(envelope_loss(0.5 * modulated, modulated, RATE_HZ)) < 1e-3
    assert float(envelope_loss(noise, modulated, RATE_HZ)) > 0.3
    pauses = 1e-5 * torch.randn(2, 16384)
    assert torch.isfinite(envelope_loss(pauses[:1], pauses[1:], RATE_HZ))


def test_mel_distance_is_in_decibels() -> None:
    torch.manual_seed(0)
    sound = torch.randn(8192)
    assert mel_distance(sound / 10, sound, RATE_HZ) == pytest.approx(20, abs=0.01)


def rates(*steps: int) -> list[float]:
    settings = Settings(steps=2000, first=1000, part=500, learning_rate=1.0)
    return [settings.rate_at(step) for step in steps]


def test_the_learning_rate_warms_up_stays_and_falls_to_zero() -> None:
    assert rates(0, 199, 500, 850, 999) == pytest.approx([0.005, 1, 1, 0.5, 1 / 300])


def test_the_learning_rate_restarts_in_every_later_part_and_falls_for_longer() -> None:
    for start in (1000, 1500):
        steps = [start + step for step in (0, 149, 325, 499)]
        assert rates(*steps) == pytest.approx([0.005, 0.75, 0.5, 1 / 350])


def test_envelopes_count_in_the_second_part() -> None:
    assert [Settings().weights_at(step)["envelope"] for step in (0, 19999, 20000, 24999)] == [0, 0, 40, 40]


def test_the_mel_loss_gains_weight_and_then_keeps_it() -> None:
    weights = [Settings().weights_at(step) for step in (0, 3000, 6000, 9000)]
    assert [weight["mel"] for weight in weights] == [12, 26, 40, 40]
    assert {weight["wave"] for weight in weights} == {20}


def test_every_parameter_is_updated_and_kernels_equally_in_every_direction() -> None:
    model, started = Autoencoder(seed=0), Autoencoder(seed=0)
    optimizers, name = Optimizers(model), "network.audio_decoder.res_layers.0.res_blocks.0.res_blocks.0"
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizers.step(1e-3)
    moved = {key: new - started.get_parameter(key) for key, new in model.named_parameters()}
    assert all(bool(step.any()) for step in moved.values())
    kernel = moved[f"{name}.input_conv.weight"].detach().flatten(1)
    assert float(kernel.square().mean().sqrt()) == pytest.approx(0.2e-3, rel=0.2)
    singular = torch.linalg.svdvals(kernel)
    assert singular.max() < 2.5 * singular.min()


def test_phase_and_low_tones_alone_count_in_the_wave_loss() -> None:
    seconds = torch.arange(8192) / RATE_HZ
    low, high = (0.5 * torch.sin(2 * torch.pi * hertz * seconds)[None] for hertz in (300, 3000))
    assert float(wave_loss(-low, low, RATE_HZ)) == pytest.approx(2)
    assert float(wave_loss(low + high, low, RATE_HZ)) < 0.02


def test_batches_depend_on_seed_and_step_alone() -> None:
    first = corpus(0).batch(4, 1024, seed=0, step=7)
    assert first.shape == (4, 1024)
    torch.testing.assert_close(corpus(0).batch(4, 1024, seed=0, step=7), first, rtol=0, atol=0)
    assert not torch.equal(corpus(0).batch(4, 1024, seed=0, step=8), first)
    assert not torch.equal(corpus(0).batch(4, 1024, seed=1, step=7), first)


def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    through = Training(SHORT, tmp_path / "through")
    lines = run(through)
    assert [line["step"] for line in lines] == [2, 4]
    assert {"mel", "wave", "held_out_mel", "held_out_wave"} <= set(lines[-1])

    stopped = Training(SHORT, tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        stopped.run(corpus(0), corpus(1), interrupt_after_step_3, log_every=1, save_every=2)
    resumed = Training(SHORT, tmp_path / "stopped")
    assert resumed.step == 2
    run(resumed, log_every=1)
    assert [json.loads(line)["step"] for line in (tmp_path / "stopped/log.jsonl").open()] == [1, 2, 3, 4]
    torch.testing.assert_close(weights(resumed), weights(through), rtol=0, atol=1e-6)
    assert run(Training(SHORT, tmp_path / "stopped")) == []


def test_losses_are_plotted(tmp_path: Path) -> None:
    training = Training(SHORT, tmp_path)
    run(training)
    plot = plot_losses(training.log, tmp_path / "losses.svg").read_text()
    assert plot == plot_losses(training.log, tmp_path / "again.svg").read_text()
    assert plot.count("<path") > 10


def test_other_settings_cannot_resume_a_run(tmp_path: Path) -> None:
    training = Training(SHORT, tmp_path)
    training.save()
    with pytest.raises(TrainingError, match=r"batch was 2, is 3.*another --folder"):
        Training(replace(SHORT, batch=3), tmp_path)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    training = Training(SHORT, tmp_path)
    training.model.network.audio_decoder.post_conv.bias.data.fill_(torch.nan)
    with pytest.raises(TrainingError, match="step 0: the loss is not finite; lower --learning-rate"):
        run(training)


def test_the_loader_reads_the_checkpoint_and_decodes_like_the_trained_network(tmp_path: Path) -> None:
    model = Autoencoder(seed=0)
    path = write_checkpoint(model, tmp_path / "mini.nemo")
    assert path.stat().st_size < 6e6
    codec = load_codec(open_checkpoint(str(path)))
    assert codec.name == NAME
    audio = 0.1 * torch.randn(1, 1, 4 * model.hop)
    model.half().float()
    with torch.no_grad():
        latent = whole(model.network.audio_encoder, audio)
        torch.testing.assert_close(whole(codec.encoder, audio), latent)
        tokens = codec.quantizer.quantize(latent)
        decoded = whole(codec.decoder, codec.quantizer.dequantize(tokens))
        torch.testing.assert_close(decoded, model(audio[:, 0]), rtol=0, atol=1e-5)


def test_a_dry_run_prints_the_size_and_steps_and_writes_nothing(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "scripts.train",
        "--dry-run",
        "--folder",
        str(tmp_path),
        "--steps",
        "7",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"{NAME}: 2.02 million weights" in done.stdout
    assert "steps 0 to 7" in " ".join(done.stdout.split())
    assert not list(tmp_path.iterdir())
