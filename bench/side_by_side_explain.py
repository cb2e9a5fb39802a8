#!/usr/bin/env python3
"""Compares ch.explain with captum and inseq: the same Llama, prompt and answer; seconds, memory, and the difference of the shares.

    pip install . torch transformers captum inseq
    python bench/side_by_side_explain.py [--tokens 512 2048 8192] [--all] [--answers token text] [--methods …] [--tools …] [--rounds 3]
                                         [--limit 300] [--memory 4] [--threads 2] [--json]

The model has 4 layers of 8 heads, width 256, random weights and a tokenizer of words. The prompt is 40 documents and a question. The
answer is one token ("token", the explained number is its logit) or 32 tokens ("text", the sum of their log-probabilities). --all adds
32,000 tokens.

The definitions are made equal where a library allows it: the embedding of the unknown token, with which inseq replaces tokens, is zero,
the start of the path of integrated gradients in the other two. NOTES says where they differ. captum gets the settings of a careful user:
prompts in batches of 4,096 tokens, as clearhead computes them, and one backward pass for the whole answer. inseq explains a text token by
token. Each case runs in its own process: once with a short prompt, which is not measured, then --rounds times, and only once if that takes
more than 20 s. Seconds are medians, on the clock and of the processor: on a busy machine only the latter can be compared. Memory is the
peak of the process, and in brackets what it was before the first measured run. A case that needs more than --limit seconds or --memory GB
is named as such.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

METHODS = ("gradient-input", "integrated-gradients", "occlusion", "attention", "relevance")
TOOLS = ("clearhead", "captum", "inseq")
DOCUMENTS, WRITTEN, STEPS, TOGETHER = 40, 32, 32, 4096
NOTES = {
    ("inseq", "integrated-gradients"): "Gauss-Legendre points (its argument `method` does not reach captum); the others use midpoints",
    ("inseq", "occlusion"): "windows of equal length in place of documents; absolute drops, for a text of each token's probability",
    ("inseq", "attention"): "computes all layers and heads; compared is the mean over the heads of the last layer",
}
DIFFERENT = {("inseq", "integrated-gradients", "token"), ("inseq", "integrated-gradients", "text"), ("inseq", "occlusion", "text")}


class Case:
    """The model, the texts and the tokens that all libraries explain. tokens: length of the prompt."""

    def __init__(self, tokens, is_text):
        import torch
        import transformers
        from tokenizers import Tokenizer, models, pre_tokenizers

        self.tokens, self.count = tokens, WRITTEN if is_text else 1
        vocabulary = {word: at for at, word in enumerate(["<unk>", "<s>", "</s>", *(f"w{at}" for at in range(253))])}
        words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        self.tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
                                                              pad_token="</s>")
        torch.manual_seed(0)
        config = transformers.LlamaConfig(vocab_size=256, hidden_size=256, num_hidden_layers=4, num_attention_heads=8, bos_token_id=1,
                                          intermediate_size=1024, max_position_embeddings=65536, eos_token_id=2, pad_token_id=2)
        self.model = transformers.LlamaForCausalLM(config).eval()
        with torch.no_grad():
            self.model.model.embed_tokens.weight[0] = 0
            for layer in self.model.model.layers:  # sharper than random weights, so that shares differ
                layer.self_attn.q_proj.weight *= 4
                layer.self_attn.k_proj.weight *= 4
        self.ids = torch.randint(3, 256, (tokens + self.count,)).tolist()
        size = max(1, tokens * 9 // 10 // DOCUMENTS)
        self.ranges = [(at * size, (at + 1) * size) for at in range(DOCUMENTS)]
        text = lambda begin, end: " ".join(f"w{one - 3}" for one in self.ids[begin:end])
        self.documents, self.question = [text(*one) for one in self.ranges], text(DOCUMENTS * size, tokens)
        self.prompt, self.answer = text(0, tokens), text(tokens, len(self.ids))
        self.together = max(1, TOGETHER // tokens)

    def number(self, logits, as_probability=False):
        """The explained number of each sequence of a batch: a logit or the sum of log-probabilities; or their probability."""
        import torch

        chosen = torch.tensor(self.ids[self.tokens :])
        rows = logits[:, self.tokens - 1 : self.tokens - 1 + self.count]
        if self.count == 1 and not as_probability:
            return rows[:, 0, chosen[0]]
        found = torch.log_softmax(rows.double() if as_probability else rows, -1)[:, range(self.count), chosen].sum(-1)
        return found.exp() if as_probability else found

    @property
    def read(self):
        """The tokens that the model reads: the prompt and, for a text, all of it but its last token."""
        return self.ids[: self.tokens + self.count - 1]


def of_clearhead(case, method):
    import clearhead as ch

    parts = {"documents": case.documents, "units": "documents", "removal": "masked"} if method == "occlusion" else {"units": "tokens"}
    answer = {"answer": case.answer} if case.count > 1 else {"target": case.answer}
    found = ch.explain(case.model, case.tokenizer, case.question if method == "occlusion" else case.prompt, methods=method, steps=STEPS,
                       **answer, **parts)
    return found.shares[method][: DOCUMENTS if method == "occlusion" else case.tokens]


def of_captum(case, method):
    import captum.attr
    import torch

    ids = torch.tensor([case.read])
    if method == "occlusion":
        mask = torch.full_like(ids, DOCUMENTS)
        for at, (begin, end) in enumerate(case.ranges):
            mask[0, begin:end] = at
        mask[0, case.ranges[-1][1] :] = torch.arange(DOCUMENTS, DOCUMENTS + ids.shape[1] - case.ranges[-1][1])
        return _ablated(case, ids, mask)
    embedded = case.model.get_input_embeddings()(ids).detach().requires_grad_(True)
    forward = lambda states: case.number(case.model(inputs_embeds=states, use_cache=False).logits)
    if method == "gradient-input":
        found = captum.attr.InputXGradient(forward).attribute(embedded)
    elif method == "integrated-gradients":
        found = captum.attr.IntegratedGradients(forward).attribute(embedded, n_steps=STEPS, method="riemann_middle",
                                                                   internal_batch_size=case.together)
    else:
        raise NotImplementedError(f"captum has no method like {method}")
    return found.sum(-1)[0, : case.tokens].detach().numpy()


def _ablated(case, ids, mask):
    """captum's ablation of the documents. Tokens outside of them are a second input, which is not attributed."""
    import captum.attr
    import torch

    end = case.ranges[-1][1]
    forward = lambda some, rest: case.number(case.model(torch.cat([some, rest.expand(some.shape[0], -1)], 1), use_cache=False).logits, True)
    with torch.no_grad():
        found = captum.attr.FeatureAblation(forward).attribute(ids[:, :end], additional_forward_args=(ids[:, end:],), baselines=0,
                                                               feature_mask=mask[:, :end], perturbations_per_eval=case.together)
    return found[0, [begin for begin, _ in case.ranges]].double().numpy()


def of_inseq(case, method):
    import inseq
    import numpy as np

    names = {"gradient-input": "input_x_gradient", "integrated-gradients": "integrated_gradients", "occlusion": "occlusion",
             "attention": "attention"}
    if method not in names:
        raise NotImplementedError(f"inseq has no method like {method}")
    if method == "attention":
        case.model.set_attn_implementation("eager")  # inseq reads output_attentions
    model = inseq.load_model(case.model, names[method], tokenizer=case.tokenizer)
    size = case.ranges[0][1]
    options = {"integrated-gradients": {"n_steps": STEPS, "internal_batch_size": case.together},
               "occlusion": {"sliding_window_shapes": (size, 256), "strides": (size, 256), "perturbations_per_eval": case.together}}
    function = {"attributed_fn": "logit"} if case.count == 1 else {"attributed_fn": "probability", "logprob": True}
    if method == "occlusion":
        function = {"attributed_fn": "probability"}
    found = model.attribute(case.prompt, f"{case.prompt} {case.answer}", show_progress=False, **function, **options.get(method, {}))
    shares = found.sequence_attributions[0].target_attributions.double().numpy()[: case.tokens]
    if method == "attention":
        return shares[:, : case.count, -1].mean(-1).sum(1)
    if method == "occlusion":
        return np.nan_to_num(shares).mean(1)[[begin for begin, _ in case.ranges]]
    return np.nan_to_num(shares.sum(-1)).sum(1)


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # GB


def run_child(options):
    """Runs one case and prints its result as the last line."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(options.memory * 2**30),) * 2)
    import numpy as np
    import torch

    torch.set_num_threads(options.threads)
    tool, method, tokens, answer, path = options.child
    run, is_text = globals()[f"of_{tool}"], answer == "text"
    if tool == "clearhead":
        import clearhead as ch

        ch.set_threads(options.threads)
    run(Case(80, is_text), method)
    case, times, before = Case(int(tokens), is_text), [], peak()
    while len(times) < options.rounds and not (times and times[0][0] > 20):
        begin = time.perf_counter(), time.process_time()
        shares = run(case, method)
        times.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    np.save(path, np.asarray(shares, np.float64))
    clock, processor = (statistics.median(one) for one in zip(*times))
    print(json.dumps({"seconds": clock, "processor_seconds": processor, "rounds": len(times), "peak": peak(), "before": before}))


def measured(options, tool, method, tokens, answer, path):
    """The result of one case in a process of its own; {"problem": …} if it does not run."""
    command = [sys.executable, __file__, "--child", tool, method, str(tokens), answer, path, "--memory", str(options.memory), "--threads",
               str(options.threads), "--rounds", str(options.rounds)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit, env=environment)
    except subprocess.TimeoutExpired:
        return {"problem": f"more than {options.limit:g} s"}
    if done.returncode == 0:
        return json.loads(done.stdout.strip().splitlines()[-1])
    error = next((line for line in reversed(done.stderr.strip().splitlines()) if line.strip()), f"exit status {done.returncode}")
    is_full = "MemoryError" in error or "can't allocate" in done.stderr or "not enough memory" in done.stderr or done.returncode < 0
    return {"problem": f"more than {options.memory:g} GB" if is_full else error[:160]}


def difference(a, b, is_absolute):
    """The largest difference of two arrays of shares, as a part of the largest share."""
    import numpy as np

    a, b = np.load(a), np.load(b)
    a, b = (np.abs(a), np.abs(b)) if is_absolute else (a, b)
    return f"shapes {a.shape}, {b.shape}" if a.shape != b.shape else float(np.abs(a - b).max() / np.abs(a).max())


def compare(options, folder):
    """Yields one result for each case, with the difference from clearhead's shares."""
    for tokens in options.tokens:
        for answer in options.answers:
            for method in options.methods:
                paths = {tool: os.path.join(folder, f"{tool}-{method}-{tokens}-{answer}.npy") for tool in options.tools}
                for tool in options.tools:
                    if (tool, method) in {("captum", "attention"), ("captum", "relevance"), ("inseq", "relevance")}:
                        continue
                    result = measured(options, tool, method, tokens, answer, paths[tool])
                    is_same = tool != "clearhead" and (tool, method, answer) not in DIFFERENT
                    if is_same and all(os.path.exists(paths.get(one, "")) for one in ("clearhead", tool)):
                        result["difference"] = difference(paths["clearhead"], paths[tool], (tool, method) == ("inseq", "occlusion"))
                    yield {"tokens": tokens, "answer": answer, "method": method, "tool": tool, **result}


def row_of(result):
    name = f"{result['tokens']:>6}  {result['answer']:<6} {result['method']:<21} {result['tool']:<10}"
    if "problem" in result:
        return f"{name} {result['problem']}"
    off = result.get("difference")
    shown = "" if off is None else off if isinstance(off, str) else f"{off:.1g}"
    note = "  *" if (result["tool"], result["method"]) in NOTES else ""
    memory = f"{result['peak']:>7.2f} GB ({result['before']:.2f})"
    return f"{name} {result['seconds']:>8.2f} s {result['processor_seconds']:>8.2f} s {memory} {shown:>9}{note}"


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="*", default=[512, 2048, 8192])
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--answers", nargs="*", choices=["token", "text"], default=["token", "text"])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=list(METHODS))
    parser.add_argument("--tools", nargs="*", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=float, default=300)
    parser.add_argument("--memory", type=float, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return run_child(options)
    import clearhead as ch

    options.tokens += [32000] if options.all else []
    packages = {name: version_of(name) for name in ("torch", "transformers", *options.tools)}
    machine = f"{platform.machine()}, {ch.instruction_set()}, {options.threads} threads"
    with tempfile.TemporaryDirectory() as folder:
        if options.json:
            print(json.dumps({"packages": packages, "machine": machine, "cases": list(compare(options, folder))}))
            return None
        print(", ".join(f"{name} {version}" for name, version in packages.items()) + f"; {machine}")
        columns = f"{'clock':>10} {'processor':>10} {'peak of process':>17} {'difference':>9}"
        print(f"{'tokens':>6}  {'answer':<6} {'method':<21} {'library':<10} {columns}")
        for result in compare(options, folder):
            print(row_of(result), flush=True)
    for (tool, method), note in NOTES.items():
        print(f"* {tool}, {method}: {note}")
    return None


if __name__ == "__main__":
    main()
