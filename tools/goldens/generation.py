"""Goldens of transformers' `generate` for the settings of generation_config.json: tests/goldens/generation/*.json.

    pip install torch transformers safetensors numpy
    python tools/goldens/generation.py

The models are those of tests/goldens/marian/searched and tests/goldens/gpt2/plain. Each case is a generation_config.json; the golden
contains the new tokens for each prompt, and the scores of beam searches. A case whose settings change nothing for any prompt is omitted.
"""

import json
import pathlib
import shutil
import tempfile

import torch
import transformers as hf
from golden_files import ROOT
from safetensors.torch import load_file

MAX_TOKENS = 12  # for cases without a length setting
torch.set_num_threads(1)


def prompts_of(golden):
    name = "source" if "source_ids" in golden else "input"
    mask = golden.get(f"{name}_mask", torch.ones_like(golden[f"{name}_ids"]))
    return [ids[keep == 1][None] for ids, keep in zip(golden[f"{name}_ids"].long(), mask, strict=True)]


def written(folder, kind, prompts, settings):
    """Returns the new tokens of each prompt, in float64, with all settings read from the files of the folder."""
    (folder / "generation_config.json").write_text(json.dumps(settings))
    model = kind.from_pretrained(folder, dtype=torch.float64).eval()
    out = {"tokens": [], "scores": []}
    length = {} if "max_length" in settings or "max_new_tokens" in settings else {"max_new_tokens": MAX_TOKENS}
    for prompt in prompts:
        with torch.no_grad():
            made = model.generate(prompt, attention_mask=torch.ones_like(prompt), return_dict_in_generate=True, output_scores=True,
                                  **length)
        tokens = made.sequences[0, 1 if model.config.is_encoder_decoder else prompt.shape[1] :].tolist()
        ends = [at for at, token in enumerate(tokens) if token == settings["eos_token_id"]]
        out["tokens"].append(tokens[: ends[0] + 1] if ends else tokens)
        if settings.get("num_beams", 1) > 1:
            out["scores"].append(made.sequences_scores[0].item())
    return out


def cases(plain, prompts, base, is_translator):
    """Returns the settings to test. They contain tokens of the text that is generated without them, so that they have an effect. base:
    settings of every case, such as eos_token_id."""
    first, second = plain[0][0], plain[0][1]
    end, prompt_tokens = base["eos_token_id"], 1 if is_translator else prompts[0].shape[1]
    common = [
        {"repetition_penalty": 1.8},
        {"repetition_penalty": 0.7},
        {"no_repeat_ngram_size": 1},
        {"no_repeat_ngram_size": 2},
        {"encoder_repetition_penalty": 1.7},
        {"encoder_no_repeat_ngram_size": 1},
        {"bad_words_ids": [[first, second], [plain[1][0]], [end]]},
        {"min_length": prompt_tokens + 8},
        {"min_new_tokens": 7},
        {"forced_eos_token_id": end, "max_length": prompt_tokens + 3},
        {"exponential_decay_length_penalty": [1, 0.2]},
        {"exponential_decay_length_penalty": [2, 1.8]},
        {"suppress_tokens": [first, plain[1][1]]},
        {"begin_suppress_tokens": [first, plain[1][0], plain[-1][0]]},
        {"max_length": prompt_tokens + 2},
        {"max_new_tokens": 2},
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3, "min_length": prompt_tokens + 5, "suppress_tokens": [second],
         "max_length": prompt_tokens + 9, "forced_eos_token_id": end},
    ]
    if is_translator:
        common += [{"forced_bos_token_id": 9}, {"forced_bos_token_id": 9, "begin_suppress_tokens": list(range(10, 40))}]
    return common


def searches():
    return [{"length_penalty": penalty, "early_stopping": early} for penalty in (-1.0, 0.5, 1.0, 2.0, 3.0) for early in (True, "never")]


def make(name, folder, kind):
    golden = load_file(ROOT / folder / "golden.safetensors")
    prompts = prompts_of(golden)
    config = json.loads((ROOT / folder / "config.json").read_text())
    base = {"eos_token_id": config["eos_token_id"], "pad_token_id": config.get("pad_token_id") or 0}
    is_translator = config.get("is_encoder_decoder", False)
    if is_translator:
        base["decoder_start_token_id"] = config["decoder_start_token_id"]
    made = []
    with tempfile.TemporaryDirectory() as place:
        copy = pathlib.Path(place) / "model"
        shutil.copytree(ROOT / folder, copy)
        for beams in (1, 3):
            plain = written(copy, kind, prompts, base | {"num_beams": beams})["tokens"]
            for case in cases(plain, prompts, base, is_translator) + (searches() if beams > 1 else []):
                settings = base | {"num_beams": beams} | case
                found = written(copy, kind, prompts, settings)
                penalty = {name: value for name, value in case.items() if name == "length_penalty"}
                usual = written(copy, kind, prompts, base | {"num_beams": beams} | penalty)["tokens"] if penalty else plain
                if found["tokens"] == usual:
                    print(name, beams, case, "changes nothing")
                else:
                    made.append({"settings": settings} | found)
    out = ROOT / "generation" / f"{name}.json"
    out.parent.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(case) for case in made)
    prompts = [prompt[0].tolist() for prompt in prompts]
    out.write_text(f'{{"model": "{folder}", "max_tokens": {MAX_TOKENS}, "prompts": {json.dumps(prompts)}, "cases": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    make("marian", "marian/searched", hf.MarianMTModel)
    make("gpt2", "gpt2/plain", hf.GPT2LMHeadModel)
