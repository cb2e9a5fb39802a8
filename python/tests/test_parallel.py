"""attn_implementation="clearhead" in DistributedDataParallel and FSDP (two processes, gloo, CPU) and with torch.compile.

The gradients must equal those of one process that runs eagerly."""

import os

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", minversion="5")

import clearhead  # noqa: F401  (registers the attention implementation)
from test_watch import IDS, SMALL, build
from torch import distributed, multiprocessing

needs_gloo = pytest.mark.skipif(not (distributed.is_available() and distributed.is_gloo_available()),
                                reason="this torch was built without torch.distributed or without gloo")


def make(kind):
    """Returns (model, inputs for two texts): a tiny Llama with left padding, or a tiny BERT with right padding."""
    mask = torch.ones_like(IDS)
    if kind == "llama":
        mask[0, :4] = 0
        model = build("LlamaForCausalLM", **SMALL, num_key_value_heads=2)
    else:
        mask[0, 12:] = 0
        model = build("BertForMaskedLM", **SMALL)
    model.set_attn_implementation("clearhead")
    return model, {"input_ids": IDS, "attention_mask": mask}


def loss_of(model, inputs):
    """Returns the mean over texts of the mean over the tokens of each text."""
    out = model(**inputs)[0].square().mean(-1)
    mask = inputs["attention_mask"]
    return ((out * mask).sum(-1) / mask.sum(-1)).mean()


def wrapped(model, how):
    """Returns (model wrapped according to `how`, function that returns the full gradients by name)."""
    if how == "ddp":
        parallel = torch.nn.parallel.DistributedDataParallel(model)
        return parallel, lambda: {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    layers = model.model.layers if hasattr(model, "model") else model.bert.encoder.layer
    if how == "fsdp":
        from torch.distributed.fsdp import FullyShardedDataParallel as Sharded
        from torch.distributed.fsdp.wrap import ModuleWrapPolicy

        parallel = Sharded(model, auto_wrap_policy=ModuleWrapPolicy({type(layers[0])}), use_orig_params=True, device_id=torch.device("cpu"))

        def whole():
            with Sharded.summon_full_params(parallel, with_grads=True):
                return {name.replace("_fsdp_wrapped_module.", ""): one.grad.clone() for name, one in parallel.named_parameters()
                        if one.grad is not None}

        return parallel, whole
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh("cpu", (2,))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model, lambda: {name: one.grad.full_tensor() for name, one in model.named_parameters() if one.grad is not None}


def work(rank, meeting, kind, how, file):
    """Runs one of two processes, with half of the texts."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    try:
        model, inputs = make(kind)
        parallel, gradients = wrapped(model, how)
        loss_of(parallel, {name: one[rank : rank + 1] for name, one in inputs.items()}).backward()
        found = gradients()
        if rank == 0:
            torch.save(found, file)
        distributed.barrier()  # a process that exits early closes the connections of one that still waits
    finally:
        distributed.destroy_process_group()
    # torch's caches of meshes keep gloo's group alive: gloo_tcp_loop and two pt_gloo_runloop threads run on after destroy_process_group(),
    # and nothing can join them. Leave without finalizers and static destructors, which they would race with.
    os._exit(0)


def same(found, expected):
    missing = set(expected) - set(found)
    assert not missing and any(bool(one.any()) for one in expected.values())
    scale = max(float(one.abs().max()) for one in expected.values())
    for name, one in expected.items():
        assert float((found[name] - one).abs().max()) < 1e-6 * max(1.0, scale), name


def alone(kind):
    model, inputs = make(kind)
    loss_of(model, inputs).backward()
    return {name: one.grad for name, one in model.named_parameters() if one.grad is not None}


@needs_gloo
@pytest.mark.parametrize("how", ["ddp", "fsdp", "fully_shard"])
@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_gradients_of_two_processes_are_those_of_one(kind, how, tmp_path):
    multiprocessing.spawn(work, (str(tmp_path / "meeting"), kind, how, str(tmp_path / "gradients")), nprocs=2)
    same(torch.load(tmp_path / "gradients"), alone(kind))


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_a_compiled_model_has_the_same_outputs_and_gradients(kind):
    model, inputs = make(kind)
    expected = loss_of(model, inputs)
    expected.backward()
    gradients = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad()
    compiled = torch.compile(model, backend="aot_eager")
    loss = loss_of(compiled, inputs)
    loss.backward()
    assert torch.allclose(loss, expected, atol=1e-6)
    same({name: one.grad for name, one in model.named_parameters() if one.grad is not None}, gradients)
