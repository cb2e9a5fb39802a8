"""TensorBoard events of a run, read by our own reader, and by TensorBoard if it is installed (pip install tensorboard)."""

import csv
import importlib.util
import io
import json
import math
import struct
import subprocess
import unittest

from support import BINARY, KEPT, SUM, TOTAL, environment, read_safetensors, run
from train_test import TrainingCase

TABLE = []
for i in range(256):
    for _ in range(8):
        i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
    TABLE.append(i)


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path):
    data = path.read_bytes()
    while data:
        head, (crc,) = data[:8], struct.unpack("<I", data[8:12])
        assert masked_crc(head) == crc, path
        (size,) = struct.unpack("<Q", head)
        record, (crc,) = data[12 : 12 + size], struct.unpack("<I", data[12 + size : 16 + size])
        assert masked_crc(record) == crc, path
        yield record
        data = data[16 + size :]


def message(data):
    """Parses a protobuf message: field → its values in order (integers, floats, bytes)."""
    out, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        field, kind = divmod(varint(), 8)
        size = varint() if kind == 2 else {0: 0, 1: 8, 5: 4}[kind]
        value = varint() if kind == 0 else data[at : at + size]
        at += size
        if kind == 1:
            (value,) = struct.unpack("<d", value)
        elif kind == 5:
            (value,) = struct.unpack("<f", value)
        out.setdefault(field, []).append(value)
    return out


def events(folder):
    """tag → {step: value message}, as a reader keeps it: a session start discards the values of its step and of later ones."""
    kept = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        first = True
        for record in records(path):
            event = message(record)
            step = event[2][0]
            if first:
                assert event[3] == [b"brain.Event:2"], event
            elif 7 in event:
                assert message(event[7][0])[1] == [1]
                kept = {tag: {s: v for s, v in steps.items() if s < step} for tag, steps in kept.items()}
            else:
                for value in map(message, message(event[5][0])[1]):
                    steps = kept.setdefault(value[1][0].decode(), {})
                    assert step not in steps, (step, value[1])
                    steps[step] = value
            first = False
    return kept


class Events(TrainingCase):
    def lines(self, out):
        return list(csv.DictReader(io.StringIO((self.folder / out / "log.csv").read_text())))

    def numbers(self, out, tag):
        return {step: value[2][0] for step, value in events(self.folder / out)[tag].items()}

    def check_numbers(self, out):
        for tag, column in (("loss/training", "loss"), ("loss/validation", "validation_loss"), ("rate", "rate"), ("gradient_norm", "gradient_norm")):
            told, expected = self.numbers(out, tag), {int(line["step"]): float(line[column]) for line in self.lines(out) if line[column]}
            self.assertEqual(list(told), list(expected), tag)
            self.assertGreater(len(told), 2, tag)
            for step, value in expected.items():
                self.assertAlmostEqual(told[step], value, delta=SUM * abs(value) + KEPT)

    def test_scalars_equal_the_log(self):
        self.assertEqual(self.train("run").code, 0)
        self.check_numbers("run")
        self.assertEqual(len(self.numbers("run", "tokens_per_second")), 11)

    def test_histograms_count_every_weight_and_gradient(self):
        self.assertEqual(self.train("run", "steps=20").code, 0)
        kept = events(self.folder / "run")
        for name, (shape, values) in read_safetensors(self.folder / "run/best/model.safetensors").items():
            self.assertEqual((list(kept[f"weights/{name}"]), list(kept[f"gradients/{name}"])), ([20], [20]))
            histogram = message(kept[f"weights/{name}"][20][5][0])
            least, most, count, total, squares = (histogram[field][0] for field in (1, 2, 3, 4, 5))
            self.assertEqual((least, most, count), (min(values), max(values), math.prod(shape)))
            self.assertAlmostEqual(total, math.fsum(values), delta=TOTAL)
            self.assertAlmostEqual(squares, math.fsum(v * v for v in values), delta=TOTAL)
            limits, counts = (struct.unpack(f"<{len(histogram[field][0]) // 8}d", histogram[field][0]) for field in (6, 7))
            self.assertEqual(sorted(set(limits)), list(limits))
            self.assertEqual(sum(counts), count)
            begin = -math.inf
            for end, expected in zip(limits, counts, strict=True):  # a positive bucket includes its lower end, a negative one its upper end
                inside = sum(begin <= v < end if end > 0 else begin < v <= end for v in values)
                self.assertEqual(inside, expected, (name, begin, end))
                begin = end
            self.assertEqual(message(kept[f"gradients/{name}"][20][5][0])[3], [math.prod(shape)])

    def killed_and_resumed(self):
        """Kills a run between checkpoints and resumes it. Returns the steps that were reported before and after its checkpoint."""
        self.write(steps=400, report=1, validate=100, checkpoint=50)
        process = subprocess.Popen([BINARY, "train", self.recipe, f"data={self.folder}", "-o", self.folder / "run", "--json"], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, env=environment())
        while json.loads(process.stdout.readline())["step"] < 120:
            pass
        process.kill()
        process.communicate()
        before = self.numbers("run", "rate")
        self.assertEqual(run("train", "--resume", self.folder / "run").code, 0)
        self.assertEqual(len(list((self.folder / "run").glob("events.out.tfevents.*"))), 2)
        self.assertGreaterEqual(len(before), 120)

    def test_a_resumed_run_has_no_duplicate_steps(self):
        self.killed_and_resumed()
        self.assertEqual(list(self.numbers("run", "rate")), list(range(1, 401)))
        self.check_numbers("run")

    @unittest.skipUnless(importlib.util.find_spec("tensorboard"), "tensorboard is not installed")
    def test_tensorboard_reads_the_same(self):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        self.killed_and_resumed()
        found = EventAccumulator(str(self.folder / "run"), size_guidance={"scalars": 0, "histograms": 0, "images": 0})
        found.Reload()
        for tag, steps in events(self.folder / "run").items():
            if 2 in next(iter(steps.values())):
                self.assertEqual({e.step: e.value for e in found.Scalars(tag)}, {step: value[2][0] for step, value in steps.items()})
            elif 5 in next(iter(steps.values())):
                told = {e.step: e.histogram_value.num for e in found.Histograms(tag)}
                self.assertEqual(told, {step: message(value[5][0])[3][0] for step, value in steps.items()})
