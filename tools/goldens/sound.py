"""Golden of the log-mel front end: filters by Slaney's formula in numpy, frames by torch.stft in float64, as Whisper and librosa make them.

    pip install torch safetensors numpy
    python tools/goldens/sound.py

Writes tests/goldens/sound/sound.safetensors: "samples" f32 [1, n] at 16 kHz; of each case NAME the options "NAME/options" i32 [rate,
window, hop, mels, lowest, highest], "NAME/filters" f32 [mels, bins] and "NAME/frames" f32 [frames, mels]. The sound is a chirp with noise
and a pause; seeds are fixed.
"""

import pathlib

import numpy
import torch
from safetensors.numpy import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "goldens" / "sound" / "sound.safetensors"
CASES = {
    "whisper": (16000, 400, 160, 20, 0, 0),
    "narrow": (16000, 256, 100, 13, 125, 7500),
    "odd": (16000, 255, 128, 7, 0, 4000),
}


def hz_to_mel(hz):
    return numpy.where(hz < 1000, hz * 3 / 200, 15 + numpy.log(numpy.maximum(hz, 1e-9) / 1000) * 27 / numpy.log(6.4))


def mel_to_hz(mel):
    return numpy.where(mel < 15, mel * 200 / 3, 1000 * numpy.exp(numpy.log(6.4) / 27 * (mel - 15)))


def filters_of(rate, window, mels, lowest, highest):
    """librosa.filters.mel with htk=False and norm="slaney"."""
    hz = numpy.arange(window // 2 + 1) * rate / window
    corners = mel_to_hz(numpy.linspace(hz_to_mel(numpy.float64(lowest)), hz_to_mel(numpy.float64(highest or rate / 2)), mels + 2))
    ramps = corners[:, None] - hz[None]
    rise = -ramps[:-2] / numpy.diff(corners)[:-1, None]
    fall = ramps[2:] / numpy.diff(corners)[1:, None]
    return numpy.maximum(0, numpy.minimum(rise, fall)) * (2 / (corners[2:] - corners[:-2]))[:, None]


def frames_of(samples, filters, window, hop):
    """Whisper's log_mel_spectrogram up to log10."""
    x = torch.from_numpy(samples).double()
    spectrum = torch.stft(x, window, hop, window=torch.hann_window(window, dtype=torch.float64), center=True, pad_mode="reflect",
                          return_complex=True)
    energies = spectrum.abs() ** 2
    mel = torch.from_numpy(filters) @ energies[:, : max(1, len(samples) // hop)]
    return torch.log10(mel.clamp(min=1e-10)).T.numpy()


def main():
    time = numpy.arange(1999) / 16000
    noise = numpy.random.default_rng(3).normal(size=len(time))
    samples = (0.4 * numpy.sin(2 * numpy.pi * (200 + 20000 * time) * time) + 0.01 * noise) * (time < 0.09)
    samples = samples.astype(numpy.float32)
    tensors = {"samples": samples[None]}
    for name, (rate, window, hop, mels, lowest, highest) in CASES.items():
        filters = filters_of(rate, window, mels, lowest, highest)
        tensors[f"{name}/options"] = numpy.array([rate, window, hop, mels, lowest, highest], numpy.int32)
        tensors[f"{name}/filters"] = filters.astype(numpy.float32)
        tensors[f"{name}/frames"] = numpy.ascontiguousarray(frames_of(samples, filters, window, hop).astype(numpy.float32))
    OUT.parent.mkdir(exist_ok=True)
    save_file(tensors, OUT)


if __name__ == "__main__":
    main()
