"""Training by several processes: the same bits as one process, however a step is distributed, and no loss if a process dies."""

import os
import shutil
import signal
import subprocess
import time
import unittest

from support import BINARY, Done, environment
from train_test import MARIAN, TrainingCase

# Also if the tests run as root, and with more processes than cores.
ALLOWED = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
           "OMPI_MCA_mpi_yield_when_idle": "1"}


def built_with_mpi():
    return shutil.which("mpirun") is not None and b"libmpi" in subprocess.run(["ldd", BINARY], capture_output=True, check=True).stdout


@unittest.skipUnless(os.environ.get("CLEARHEAD_CI") or built_with_mpi(), "no MPI here, or clearhead was built without")
class Processes(TrainingCase):
    FILES = ["checkpoint.safetensors", "best/model.safetensors", "best/config.json", "log.csv"]

    def setUp(self):
        super().setUp()
        self.write(steps=20, accumulate=4, dropout=0.1, ema_decay=0.9, report=5, validate=10, checkpoint=5)

    def command(self, count, *arguments):
        return ["mpirun", "-n", str(count), str(BINARY), "train", *(str(item) for item in arguments)]

    def together(self, count, *arguments):
        return Done(subprocess.run(self.command(count, *arguments), capture_output=True, env=environment(**ALLOWED), timeout=1200, check=False))

    def files(self, out):
        return {name: (self.folder / out / name).read_bytes() for name in self.FILES}

    def test_any_number_of_processes_gives_the_bits_of_one(self):
        self.write(steps=20, accumulate=4, dropout=0.1, attention_dropout=0.1, ema_decay=0.9, report=5, validate=10, checkpoint=5)
        self.assertEqual(self.train("one").code, 0)
        for count in (1, 2, 4):
            done = self.together(count, self.recipe, f"data={self.folder}", "-o", self.folder / f"by{count}")
            self.assertEqual(done.code, 0, done.errors)
            self.assertEqual(len([line for line in done.out.splitlines() if line.startswith("step")]), 4, "one of them speaks")
            self.assertEqual(f"with {count} processes" in done.errors, count > 1, done.errors)
            for name, data in self.files("one").items():
                self.assertEqual(self.files(f"by{count}")[name], data, f"{count} processes: {name}")

    def test_two_processes_give_the_same_bits_in_bf16_with_gradient_checkpointing(self):
        self.write(steps=6, accumulate=4, dropout=0.1, attention_dropout=0.1, report=5, validate=10, checkpoint=5, precision="bf16",
                   gradient_checkpointing=True)
        self.assertEqual(self.train("one").code, 0)
        done = self.together(2, self.recipe, f"data={self.folder}", "-o", self.folder / "by2")
        self.assertEqual(done.code, 0, done.errors)
        self.assertEqual(self.files("by2"), self.files("one"))

    def test_two_processes_give_the_same_alignment_and_entropy_losses(self):
        lines = "".join(f"{i} and {i * 7 % 40}\t{i * 7 % 40} und {i}\t0-2 1-1 2-0\n" for i in range(90))
        for name in ("train.tsv", "valid.tsv"):
            (self.folder / name).write_text(lines, encoding="utf-8")
        self.write(files=None, held_out=None, batch=None, pairs={"train": "train.tsv", "valid": "valid.tsv"}, model=MARIAN, max_tokens=128, steps=6, accumulate=4,
                   report=2, validate=6, checkpoint=5, attention_dropout=0.1, alignment={"column": 3, "weight": 0.5}, entropy={"weight": -0.1})
        self.assertEqual(self.train("one").code, 0)
        done = self.together(2, self.recipe, f"data={self.folder}", "-o", self.folder / "by2")
        self.assertEqual(done.code, 0, done.errors)
        self.assertEqual(self.files("by2"), self.files("one"))
        self.assertRegex(done.out, r"step 2 of 6  loss .*left  alignment \d+\.\d{4}  entropy \d+\.\d{4}\n")

    def test_a_killed_process_ends_the_run_and_another_process_count_resumes_it(self):
        settings = [self.recipe, f"data={self.folder}", "steps=400", "validate=400", "report=400"]
        run = subprocess.Popen(self.command(4, *settings, "-o", self.folder / "lost"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env=environment(**ALLOWED))
        checkpoint = self.folder / "lost/checkpoint.safetensors"
        try:
            until = time.monotonic() + 600
            while not checkpoint.exists() and time.monotonic() < until:
                time.sleep(0.01)
            self.assertTrue(checkpoint.exists())
            ranks = subprocess.run(["pgrep", "-P", str(run.pid)], capture_output=True, check=True).stdout.split()
            self.assertEqual(len(ranks), 4)
            os.kill(int(ranks[2]), signal.SIGKILL)
            errors = run.communicate(timeout=600)[1]
        finally:
            run.kill()
        self.assertNotEqual(run.returncode, 0)
        self.assertIn(b"signal 9", errors)
        shutil.copytree(self.folder / "lost", self.folder / "alone")
        self.assertEqual(self.together(2, "--resume", self.folder / "lost").code, 0)
        self.assertEqual(Done(subprocess.run([BINARY, "train", "--resume", self.folder / "alone"], capture_output=True, env=environment(), timeout=600,
                                             check=False)).code, 0)
        self.assertEqual(self.files("lost"), self.files("alone"))

    def test_ctrl_c_saves_and_another_process_count_resumes_with_the_same_bits(self):
        # The run must take seconds even on a fast machine, because mpirun waits one second before it passes the signal on. It reads nothing
        # meanwhile, so a process with much output would block until it is killed.
        settings = ["steps=3000", "report=75", "validate=3000", "checkpoint=3000"]
        self.assertEqual(self.train("one", *settings).code, 0)
        run = subprocess.Popen(self.command(2, self.recipe, f"data={self.folder}", *settings, "-o", self.folder / "asked"),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**ALLOWED))
        try:
            self.assertRegex(run.stdout.readline(), "^step +75 of 3,?000 ")
            run.send_signal(signal.SIGINT)  # only to mpirun, as from a terminal: its processes have their own process groups
            errors = run.communicate(timeout=600)[1]
        finally:
            run.kill()
        self.assertRegex(errors, f"stopped after step [0-9]+; to continue: clearhead train --resume {self.folder / 'asked'}\n")
        done = self.together(4, "--resume", self.folder / "asked")
        self.assertEqual(done.code, 0, done.errors)
        self.assertEqual(self.files("asked"), self.files("one"))

    def test_micro_batches_that_cannot_be_shared_evenly_are_refused(self):
        done = self.together(3, self.recipe, f"data={self.folder}", "-o", self.folder / "three")
        self.assertNotEqual(done.code, 0)
        self.assertIn("a step has 4 micro-batch(es) (\"accumulate\") and there are 3 processes; each process must run 1, 2, 4, 8 … of them: give accumulate=3, "
                      "or start a different number of processes", done.errors)
        self.assertFalse((self.folder / "three").exists())

    def test_six_micro_batches_on_three_processes_give_the_bits_of_one(self):
        self.write(steps=6, accumulate=6, report=5, validate=10, checkpoint=5)
        self.assertEqual(self.train("one").code, 0)
        done = self.together(3, self.recipe, f"data={self.folder}", "-o", self.folder / "by3")
        self.assertEqual(done.code, 0, done.errors)
        self.assertEqual(self.files("by3"), self.files("one"))
