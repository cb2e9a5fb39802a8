"""Golden of all-MiniLM-L6-v2 with its real weights, which are not committed (tools/demo-model fetches them).

    python tools/goldens/minilm.py MODEL_DIRECTORY

Writes tests/goldens/minilm/golden.safetensors: for sentence s, input_ids.s, attention.s.l, hidden.s (the last) and embedding.s (mean over
tokens, then unit length, as the model's modules.json says), from a float64 run.
"""

import sys

import torch
import transformers as hf
from golden_files import ROOT, f32, i32
from safetensors.numpy import save_file

SENTENCES = ["The cat sat on the mat.", "Attention is a soft look-up: queries, keys and values.", "猫坐在垫子上。"]

if __name__ == "__main__":
    torch.set_num_threads(1)
    tokenizer = hf.AutoTokenizer.from_pretrained(sys.argv[1])
    model = hf.BertModel.from_pretrained(sys.argv[1], attn_implementation="eager").double().eval()
    golden = {}
    for index, sentence in enumerate(SENTENCES):
        inputs = tokenizer(sentence, return_tensors="pt")
        with torch.no_grad():
            out = model(**inputs, output_attentions=True)
        golden[f"input_ids.{index}"] = i32(inputs["input_ids"])
        golden[f"hidden.{index}"] = f32(out.last_hidden_state[0])
        golden[f"embedding.{index}"] = f32(torch.nn.functional.normalize(out.last_hidden_state[0].mean(0), dim=0))
        for layer, attention in enumerate(out.attentions):
            golden[f"attention.{index}.{layer}"] = f32(attention[0])
    folder = ROOT / "minilm"
    folder.mkdir(parents=True, exist_ok=True)
    save_file(golden, folder / "golden.safetensors",
              metadata={f"sentence.{index}": sentence for index, sentence in enumerate(SENTENCES)} | {"made_by": "tools/goldens/minilm.py"})
