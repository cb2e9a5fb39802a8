"""Golden of losses on attention maps: gradients of a translation loss with guided alignment and an entropy penalty, by PyTorch over whole
maps.

    pip install torch transformers safetensors numpy
    python tools/goldens/guided.py

Writes tests/goldens/guided/marian: a small Marian with seeded weights, the pairs that it reads (train.tsv, with alignments in the third
column), and golden.safetensors: "loss", "alignment" and "entropy" of the batch, and "d.NAME", the gradient of every parameter of

    loss + 0.7·alignment + 0.2·entropy     alignment: Chen et al. 2016 over the mean of the last layer's heads; entropy: cross-attention

in float64 with eager attention. Tokens are bytes. The third pair has no alignment, and one target word of the second has none.
"""

import numpy
import torch
import transformers as hf
from golden_files import ROOT, f32, seed_weights, write

START, PAD = 1, 2
PAIRS = [("the cat sat", "le chat assis", "0-0 1-1 2-2"), ("no dog", "pas de chien la", "0-0 0-1 1-2 0-2"), ("a", "un", "")]
ALIGNMENT, ENTROPY = 0.7, 0.2


def words(text):
    """Returns the bytes [begin, end) of each word. All letters of the texts here are one byte."""
    begin, out = 0, []
    for word in text.split(" "):
        out.append(range(begin, begin + len(word)))
        begin += len(word) + 1
    return out


def gold(source, target, links):
    """Returns the alignment matrix [target, source]. A row with at least one link sums to one."""
    matrix = torch.zeros(len(target), len(source), dtype=torch.float64)
    for link in links.split():
        of_source, of_target = (int(number) for number in link.split("-"))
        for row in words(target)[of_target]:
            matrix[row, list(words(source)[of_source])] = 1
    return matrix / matrix.sum(1, keepdim=True).clamp(min=1)


def padded(texts):
    ids = [list(text.encode()) for text in texts]
    longest = max(map(len, ids))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in ids]), torch.tensor([[1] * len(row) + [0] * (longest - len(row))
                                                                                            for row in ids])


def main():
    config = hf.MarianConfig(vocab_size=256, d_model=16, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
                             encoder_attention_heads=2,
                             decoder_attention_heads=2, max_position_embeddings=32, pad_token_id=PAD, eos_token_id=0,
                             forced_eos_token_id=None,
                             decoder_start_token_id=START, scale_embedding=True, activation_function="relu", dropout=0.0)
    model = hf.MarianMTModel(config)
    model.set_attn_implementation("eager")
    seed_weights(model, 800)
    model = model.double().eval()
    source, source_mask = padded([pair[0] for pair in PAIRS])
    target, target_mask = padded([pair[1] for pair in PAIRS])
    read = torch.cat([torch.full((len(PAIRS), 1), START), target[:, :-1]], 1)
    out = model(input_ids=source, attention_mask=source_mask, decoder_input_ids=read, output_attentions=True)

    log_probabilities = out.logits.log_softmax(-1).gather(2, target[..., None])[..., 0]
    loss = -(log_probabilities * target_mask).sum() / target_mask.sum()
    mean = out.cross_attentions[-1].mean(1)
    rows, alignment = 0, 0
    for index, (of_source, of_target, links) in enumerate(PAIRS):
        matrix = gold(of_source, of_target, links)
        alignment = alignment - (matrix * mean[index, : len(of_target), : len(of_source)].log()).sum()
        rows += int((matrix.sum(1) > 0).sum())
    alignment = alignment / rows
    # without padding, where the derivative of the entropy is infinite
    entropy = sum(torch.special.entr(layer[index, :, : len(of_target), : len(of_source)]).sum()
                  for layer in out.cross_attentions for index, (of_source, of_target, _) in enumerate(PAIRS))
    entropy = entropy / (target_mask.sum() * config.decoder_attention_heads * len(out.cross_attentions))
    (loss + ALIGNMENT * alignment + ENTROPY * entropy).backward()

    golden = {name: numpy.array([value.item()], numpy.float32)
              for name, value in (("loss", loss), ("alignment", alignment), ("entropy", entropy))}
    golden |= {f"d.{name}": f32(parameter.grad) for name, parameter in model.named_parameters() if parameter.grad is not None}
    write("guided", "marian", model, golden)
    (ROOT / "guided" / "marian" / "train.tsv").write_text("".join("\t".join(pair) + "\n" for pair in PAIRS))
    print({name: float(values[0]) for name, values in golden.items() if "." not in name}, rows, "rows")


if __name__ == "__main__":
    main()
