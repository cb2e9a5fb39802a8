"""A network that writes text from sounds, from the command line: tones listed in a table are learned, measured, written and traced."""

import json
import math
import random
import struct
import wave

from support import Case, run

RATE = 8000
TONES = {"low": 300, "mid": 900, "high": 2500}
MODEL = {
    "model_type": "listen_attend_spell", "vocab_size": 280, "embedding_size": 16, "hidden_size": 48, "pyramid_layers": 1,
    "sound": {"rate": RATE, "window": 128, "hop": 160, "mels": 20}, "max_position_embeddings": 40, "eos_token_id": 0, "pad_token_id": 1,
    "decoder_start_token_id": 1,
}


class Transcription(Case):
    def setUp(self):
        super().setUp()
        self.random = random.Random(5)
        rows = ["file\tword\tvoice\tsplit"]
        for part, takes in (("train", 6), ("valid", 2), ("test", 2)):
            for word in TONES:
                for voice in ("anna", "ben"):
                    rows += [f"{self.tone(f'{part}-{word}-{voice}-{take}.wav', word)}\t{word}\t{voice}\t{part}" for take in range(takes)]
        self.table = self.folder / "tones.tsv"
        self.table.write_text("\n".join(rows) + "\n", encoding="utf-8")
        self.recipe = self.folder / "tones.json"
        self.recipe.write_text(json.dumps({
            "task": {"kind": "speech-recognition", "table": "tones.tsv", "file": "file", "text": "word", "part": "split", "speaker": "voice",
                     "train": "train", "valid": "valid", "test": "test", "joined": [1, 3], "tested": [2, 3], "best": "loss"},
            "data_source": "The tones are made by the test.", "tokenizer": {"bpe": 280}, "model": MODEL, "batch": 16, "length": 24, "steps": 600,
            "schedule": {"kind": "linear", "learning_rate": 0.005, "warmup": 20}, "optimiser": {"clip": 5},
            "report": 100, "validate": 100, "checkpoint": 300}), encoding="utf-8")

    def tone(self, name, *words):
        """Writes a tone for each word: the word's frequency, a random length and loudness, and pauses between tones."""
        samples = []
        for at, word in enumerate(words):
            samples += [0] * (800 if at > 0 else 0)
            hertz, loudness = TONES[word] * self.random.uniform(0.95, 1.05), self.random.uniform(3000, 20000)
            count = self.random.randint(800, 1600)
            samples += [round(loudness * math.sin(2 * math.pi * hertz * t / RATE) + self.random.gauss(0, 50)) for t in range(count)]
        with wave.open(str(self.folder / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
        return name

    def task(self, *settings):
        return ["train", self.recipe, f"data={self.folder}", *settings, "-o", self.folder / "run"]

    def test_tones_are_learned_measured_written_and_traced(self):
        done = run(*self.task(), "--json")
        self.assertEqual(done.code, 0, done.errors)
        self.assertGreater(json.loads(done.out.splitlines()[-1])["token_accuracy"], 0.98)
        best = self.folder / "run/best"
        self.assertIn(f"clearhead run transcribe {best} FILE.wav", done.errors)
        tested = run("train", self.recipe, f"data={self.folder}", "--test", best, "--json").json
        self.assertEqual((tested["sounds"], tested["joined"]), (12, 12))
        self.assertLessEqual(tested["word_errors_alone"], 0.1)
        self.assertLessEqual(tested["word_errors_joined"], 0.1)
        for of in ("alone", "joined"):  # a wrong word has at least one wrong character of at most four
            words, characters = tested[f"word_errors_{of}"], tested[f"character_errors_{of}"]
            self.assertLessEqual(characters, 0.1)
            self.assertEqual(characters > 0, words > 0)
        self.assertGreater(tested["attention_forward"], 0.5)

        sounds = [self.tone("one.wav", "mid"), self.tone("two.wav", "high", "low")]
        files = [self.folder / name for name in sounds]
        written = run("run", "transcribe", best, *files, "--json").json["transcripts"]
        self.assertEqual([one["text"] for one in written], ["mid", "high low"])
        self.assertEqual(run("run", "transcribe", best, *files, "--beams", "3").out, f"{files[0]}\tmid\n{files[1]}\thigh low\n")

        trace = self.folder / "two.trace"
        self.assertEqual(run("run", "transcribe", best, files[1], "--trace", trace).out, "high low\n")
        family = run("info", trace, "--json").json["families"]
        self.assertEqual([one["name"] for one in family], ["cross"])
        self.explained(best, files[1])
        cut = run("run", "transcribe", best, *files, "--cut", "0/9000")
        self.assertEqual((cut.code, cut.out), (1, ""))
        self.assertRegex(cut.errors, r"one\.wav: an attention knockout names keys 9000; this run has [0-9]+ of them")
        self.refused(2, "--trace stores the run of one sound, but 2 were given", "run", "transcribe", best, *files, "--trace", trace)
        self.refused(1, f"{best}: a model of type \"listen_attend_spell\" reads a sound, not a text", "run", "translate", best, "a text")

    def explained(self, best, sound):
        """Explains transcripts of a high tone, a pause and a low tone. Each word must come from the frames of its own tone. Shares are averaged
        over several sounds, because the second word depends on where the model heard the first one end."""
        methods = ["attention", "relevance", "occlusion", "gradient-input"]
        more = [self.folder / self.tone(f"more-{at}.wav", "high", "low") for at in range(10)]
        written = run("run", "transcribe", best, *more, "--json").json["transcripts"]
        heard = [file for file, one in zip(more, written) if one["text"] == "high low"]
        self.assertGreater(len(heard), 4)
        own = {(word, method): [] for word in ("high", "low") for method in methods[:3]}
        for one in (sound, *heard[:5]):
            for word in ("high", "low"):
                found = run("why", best, one, "--target", word[0], "--method", ",".join(methods), "--json").json
                self.assertGreater(found["probability"], 0.8)
                items, half = found["items"], len(found["items"]) / 2
                self.assertTrue(all(item["text"].endswith(" s") for item in items), items)
                self.assertTrue(any(item["shares"]["gradient-input"] for item in items), "some item must have a share by gradient-input")
                for method in methods[:3]:
                    of = [abs(item["shares"][method]) for item in items]
                    own[word, method].append(sum(share for at, share in enumerate(of) if (at < half) == (word == "high")) / sum(of))
                    if method != "occlusion":
                        self.assertGreater(own[word, method][-1], 0.6, f"{word} by {method}: {of}")
                self.assertLess(found["without"]["unseen"], found["probability"] + 0.01)
        for method in methods[:3]:
            high, low = (sum(own[word, method]) / len(own[word, method]) for word in ("high", "low"))
            self.assertGreater(high + low, 1.3, f"{method}: {own}")  # 1 would mean that both words came from the same frames
        self.refused(1, f'{best}: "mid" is not in the generated text: "high low"', "why", best, sound, "--target", "mid")

    def test_training_twice_gives_the_same_bits(self):
        self.assertEqual(run(*self.task("steps=8", "validate=4", "checkpoint=4")).code, 0)
        whole = (self.folder / "run/best/model.safetensors").read_bytes()
        self.assertEqual(run("train", self.recipe, f"data={self.folder}", "steps=8", "validate=4", "checkpoint=4", "-o", self.folder / "again").code, 0)
        self.assertEqual((self.folder / "again/best/model.safetensors").read_bytes(), whole)

    def test_batches_are_printed_with_their_frames(self):
        out = run("train", self.recipe, f"data={self.folder}", "--batches", "1").out
        self.assertRegex(out, r"(?m)^  from  \d+ frames\n  to    ")
        line = run("train", self.recipe, f"data={self.folder}", "--batches", "1", "--json").json
        self.assertEqual(len(line["source_frames"]), 16)

    def test_bad_data_is_named(self):
        self.refused(1, f'{self.table}, line 1: no column "wort"; the columns are "file", "word", "voice", "split"', *self.task("task.text=wort"))
        self.refused(1, f'{self.recipe}: "task.joined": expected the smallest and the largest number of sounds to join, from 1 to 100, as in [1, 7], found '
                        'an array of 2', *self.task("task.joined=[3,1]"))
        self.refused(1, f'{self.recipe}: "model.sound.rate" is 16000, but the sounds of tones.tsv have 8000 samples a second in training and 8000 in validation; expected the same rate',
                     *self.task("model.sound.rate=16000"))
        self.refused(1, f'{self.recipe}: a text has 4 tokens, but "length" is 2; give a larger length, or join fewer sounds',
                     *self.task("length=2"))
        self.refused(1, f'{self.recipe}: a model of type "hierarchical_attention" reads a document; "task.kind" "speech-recognition" is for models '
                        'that read a sound. Expected "task.kind" "classification" or "task.kind" "summarisation"',
                     *self.task('model={"model_type": "hierarchical_attention", "vocab_size": 280, "embedding_size": 8, "hidden_size": 8, '
                                '"id2label": {"0": "a"}}'))
        with self.table.open("a", encoding="utf-8") as file:
            file.write("none.wav\tlow\tanna\ttrain\n")
        self.refused(1, f"{self.table}, line 62, column \"file\": {self.folder}/none.wav: no such file", *self.task())
