"""Tones made and measured: one sine in, Goertzel's algorithm out."""

import math
from array import array
from dataclasses import dataclass, field
from pathlib import Path

WINDOW_S = 0.1
# A window counts as the tone when this share of its energy lies at it. A clean sine has 1.00; a call
# through G.711, G.722 and Opus keeps 0.9 and more; two tones of equal strength have 0.5 each.
SHARE = 0.8
# Root mean square of 16-bit samples below which a window is silence.
SILENCE = 300


@dataclass
class Sound:
    """Mono 16-bit samples."""

    rate: int = 8000
    samples: array = field(default_factory=lambda: array("h"))

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    def windows(self) -> list:
        step = int(self.rate * WINDOW_S)
        return [self.samples[i : i + step] for i in range(0, len(self.samples) - step + 1, step)]

    def tone_seconds(self, hz: float) -> float:
        """How many seconds of it are the pure tone."""
        return WINDOW_S * sum(
            loudness(w) > SILENCE and share(w, self.rate, hz) > SHARE for w in self.windows()
        )

    def loud_seconds(self) -> float:
        """How many seconds of it are not silent."""
        return WINDOW_S * sum(loudness(w) > SILENCE for w in self.windows())

    def describe(self, *tones: float) -> str:
        """One line for a failed assertion."""
        heard = ", ".join(f"{self.tone_seconds(hz):.1f} s of {hz} Hz" for hz in tones)
        return f"{self.seconds:.1f} s of sound, {self.loud_seconds():.1f} s not silent, {heard}"


def loudness(window) -> float:
    """Root mean square."""
    return math.sqrt(sum(s * s for s in window) / max(1, len(window)))


def share(window, rate: int, hz: float) -> float:
    """The share of the window's energy at `hz`, 0 to 1."""
    turn = 2 * math.pi * hz / rate
    double_cosine = 2 * math.cos(turn)
    before = last = energy = 0.0
    for sample in window:
        before, last = last, sample + double_cosine * last - before
        energy += sample * sample
    if not energy:
        return 0.0
    power = last * last + before * before - double_cosine * last * before
    return min(1.0, 2 * power / (len(window) * energy))


def sine(hz: float, rate: int, start: int, count: int, peak: int = 8000) -> array:
    """`count` samples of a sine from sample number `start` on."""
    step = 2 * math.pi * hz / rate
    return array("h", (int(peak * math.sin(step * (start + i))) for i in range(count)))


def read_wav(file: Path) -> Sound:
    """Reads 16-bit PCM; the sizes in the header are not trusted, the writer may still be at it."""
    data = file.read_bytes()
    form = data.index(b"fmt ") + 8
    channels = int.from_bytes(data[form + 2 : form + 4], "little")
    rate = int.from_bytes(data[form + 4 : form + 8], "little")
    bits = int.from_bytes(data[form + 14 : form + 16], "little")
    assert bits == 16, f"{file}: {bits} bits a sample"
    body = data[data.index(b"data") + 8 :]
    samples = array("h", body[: len(body) // (2 * channels) * 2 * channels])
    return Sound(rate, samples[::channels])
