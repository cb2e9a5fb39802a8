"""Compares transformers models with clearhead's attention and with PyTorch's SDPA, and watched and unwatched runs, in turn.

    pip install . torch transformers
    python bench/side_by_side_python.py [--tokens 128 512 4096] [--models bert gpt2 llama] [--rounds 5] [--layers N] [--written 64]

Random weights of the real sizes (BERT-base, GPT-2, a Llama of 12 layers x 768), float32, with a batch size such that a run has at least
1,024 tokens. Prints the fastest of the rounds in ms, and SDPA's time over clearhead's: above 1 clearhead is faster. At the end, Llama
generates --written tokens after 512, and a BERT of 4 layers x 256 reads 1 x 128 tokens watched and not watched.
"""

import argparse
import os
import time

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import clearhead as ch
import torch
import transformers


def models(layers):
    count = {} if layers is None else {"num_hidden_layers": layers}
    return {
        "bert": lambda: transformers.BertModel(transformers.BertConfig(max_position_embeddings=8192, **count)),
        "gpt2": lambda: transformers.GPT2Model(transformers.GPT2Config(n_positions=8192,
                                                                       **({} if layers is None else {"n_layer": layers}))),
        "llama": lambda: transformers.LlamaModel(transformers.LlamaConfig(
            vocab_size=32000, hidden_size=768, num_hidden_layers=layers or 12, num_attention_heads=12, num_key_value_heads=4,
            intermediate_size=2048, max_position_embeddings=8192)),
    }


def seconds(run):
    begin = time.perf_counter()
    with torch.no_grad():
        run()
    return time.perf_counter() - begin


def fastest(runs, rounds):
    """Returns the milliseconds of the fastest round. The runs alternate, and the first round is a warm-up."""
    times = [[seconds(run) for run in runs] for _ in range(rounds + 1)][1:]
    return [min(one) * 1e3 for one in zip(*times)]


def write(options):
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(models(options.layers)["llama"]().config).eval()
    ids, count = torch.randint(5, 30000, (1, 512)), options.written
    use = lambda implementation: lambda: (model.set_attn_implementation(implementation), model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0))
    sdpa, ours = fastest([use("sdpa"), use("clearhead")], options.rounds)
    print(f"llama writes {count} tokens after 512: sdpa {sdpa:.0f} ms, clearhead {ours:.0f} ms, ratio {sdpa / ours:.2f}", flush=True)


def watch_small(options):
    torch.manual_seed(0)
    config = transformers.BertConfig(hidden_size=256, num_hidden_layers=4, num_attention_heads=4, intermediate_size=1024)
    model, ids = transformers.BertModel(config).eval(), torch.randint(5, 1000, (1, 128))

    def watched():
        with ch.watch(model) as trace:
            model(ids)
        assert not trace.left_out

    plain, seen = fastest([lambda: model(ids), watched], 10 * options.rounds)
    print(f"bert of 4 layers, 1 x 128: {plain:.2f} ms, watched {seen:.2f} ms, {(seen - plain) / 4:.2f} ms a layer more", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="*", default=[128, 512, 4096])
    parser.add_argument("--models", nargs="*", default=["bert", "gpt2", "llama"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--written", type=int, default=64)
    options = parser.parse_args()
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {torch.get_num_threads()} threads, "
          f"clearhead {ch.instruction_set()}")
    print(f"{'model':6} {'batch x tokens':>15} {'sdpa ms':>10} {'clearhead ms':>13} {'ratio':>6} {'watched ms':>11} {'over sdpa':>10}")
    for name in options.models:
        torch.manual_seed(0)
        model = models(options.layers)[name]().eval()
        for tokens in options.tokens:
            ids = torch.randint(5, 30000, (max(1, 1024 // tokens), tokens))
            use = lambda implementation: lambda: (model.set_attn_implementation(implementation),
                                                  model(ids, use_cache=False) if name != "bert" else model(ids))

            def watched():
                with ch.watch(model, budget=8 << 30) as trace:
                    use("sdpa")()
                    watched.inside = time.perf_counter()
                assert not trace.left_out

            times = {"sdpa": [], "clearhead": [], "watched": []}
            for round_of in range(options.rounds + 1):
                a, b = seconds(use("sdpa")), seconds(use("clearhead"))
                begin = time.perf_counter()
                with torch.no_grad():
                    watched()
                c = watched.inside - begin  # the run itself: the maps' statistics are computed after it
                if round_of:  # the first warms up
                    for one, took in zip(times.values(), (a, b, c)):
                        one.append(took)
            sdpa, ours, seen = (min(one) * 1e3 for one in times.values())
            print(f"{name:6} {ids.shape[0]:>6} x {tokens:<6} {sdpa:10.1f} {ours:13.1f} {sdpa / ours:6.2f} {seen:11.1f} {seen / sdpa:10.2f}",
                  flush=True)
    write(options)
    watch_small(options)


if __name__ == "__main__":
    main()
