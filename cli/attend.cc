// clearhead attend IN.safetensors: one attention call on tensors from a file, for callers in any programming language.
#include "clearhead/attend.h"

#include <algorithm>

#include "backends/registry.h"
#include "base/file.h"
#include "base/format.h"
#include "clearhead/map.h"
#include "cli/cli.h"
#include "io/safetensors.h"

namespace clearhead::cli {
namespace {

struct Options {
  std::string in, spec, out, backend, dtype;
  bool weights = false, scores = false, stats = false, gradients = false, json = false, as_used = false;
};

// Collects (row.*of)() of every row into one tensor [batch, head, query, key].
Tensor all_rows(const AttentionMap& map, const char* what, const std::vector<float>& (MapRow::*of)() const) {
  const AttentionShape shape = map.shape();
  Tensor out = Tensor::empty({shape.batch, shape.heads, shape.queries, shape.keys});
  if (out.numel() == 0) return out;  // if one axis is empty, the others may be of any size: do not loop over them
  float* to = out.mutable_data<float>();
  Progress progress(what);
  const auto report = progress.callback();
  for (int64_t b = 0; b < shape.batch; ++b) {
    for (int64_t h = 0; h < shape.heads; ++h) {
      for (int64_t i = 0; i < shape.queries; ++i) {
        const MapRow row = map.head(b, h).row(i);
        to = std::copy((row.*of)().begin(), (row.*of)().end(), to);
        if (report) report(static_cast<double>(to - out.data<float>()) / static_cast<double>(out.numel()));
      }
    }
  }
  return out;
}

// Converts q, k, v and d_out to the dtype of --dtype (default: f32), whatever the file stores.
Tensor operand(const io::SafeTensors& in, const char* name, const std::string& asked) {
  const DType dtype = asked.empty() ? DType::kF32 : dtype_named(asked);
  const Tensor stored = in.get(name);
  if (stored.dtype() == dtype) return stored;
  if (stored.dtype() != DType::kF32 && stored.dtype() != DType::kBF16 && stored.dtype() != DType::kF16)
    fail(ErrorCode::kUnsupported, "{}: tensor \"{}\" is {}; expected f32, bf16 or f16", in.where(), name, to_string(stored.dtype()));
  if (asked.empty())
    notice(format("{} is {}: converted to f32; to compute in 16 bits, use --dtype bf16 or --dtype f16", name, to_string(stored.dtype())));
  return to_dtype(stored, dtype);
}

// Adds the row statistics that the normaliser keeps, each under its own name.
struct AddRows {
  const RowStats& rows;
  io::NamedTensors& to;
  void operator()(const Softmax&) const { to.emplace_back("log_sum_exp", log_sum_exp(rows)); }
  void operator()(const Sparsemax& sparse) const { to.emplace_back("threshold", thresholds(rows, sparse)); }
  void operator()(const Entmax15& sparse) const { to.emplace_back("threshold", thresholds(rows, sparse)); }
  void operator()(const Sigmoid&) const {}
  void operator()(const Hard&) const {
    to.emplace_back("chosen", rows.m);
    to.emplace_back("log_probability", rows.l);
  }
  void operator()(const LinearAttention&) const { to.emplace_back("sum", rows.l); }
};

// d_q, d_k, d_v and d_NAME of every f32 operand, for the loss whose gradient with respect to out is `d_out`.
void add_gradients(const Attended& done, const Tensor& v, const Tensor& d_out, io::NamedTensors& to) {
  const AttendGradients gradients = attend_gradients(done.record, v, done.out, d_out);
  to.emplace_back("d_q", to_f32(gradients.q));
  to.emplace_back("d_k", to_f32(gradients.k));
  to.emplace_back("d_v", to_f32(gradients.v));
  auto next = gradients.operands.begin();
  for_each_operand(done.record.spec, [&](const std::string& name, const Tensor&) {
    if (next->defined()) to.emplace_back("d_" + name, *next);
    ++next;
  });
}

void check_contains(const io::SafeTensors& in, const char* name, const char* why) {
  if (!in.contains(name)) fail(ErrorCode::kNotFound, "{}: has no tensor \"{}\"; {}", in.where(), name, why);
}

void run(const Options& options) {
  if (!options.backend.empty()) choose_backend(options.backend);
  const io::SafeTensors in = io::SafeTensors::open(options.in);
  for (const char* name : {"q", "k", "v"}) check_contains(in, name, "attend needs q [batch, head, query, d_k], k and v");
  if (options.gradients)
    check_contains(in, "d_out", "--gradients needs d_out [batch, head, query, d_v], the gradient of a loss with respect to out");
  AttentionSpec spec;
  if (!options.spec.empty()) {
    spec = spec_from_json(read_config(options.spec), options.spec, [&](const std::string& name) { return in.get(name); });
  }
  check_writable(options.out);
  const Tensor q = operand(in, "q", options.dtype), k = operand(in, "k", options.dtype), v = operand(in, "v", options.dtype);
  const Attended done = attend(q, k, v, spec);
  const AttentionMap exact(done.record), map = options.as_used ? exact.with(LookPrecision::kAsUsed) : exact;
  io::NamedTensors tensors{{"out", to_f32(done.out)}};
  std::visit(AddRows{done.record.rows, tensors}, spec.normaliser);
  if (options.weights) tensors.emplace_back("weights", all_rows(map, "weights", &MapRow::weights));
  if (options.scores) tensors.emplace_back("scores", all_rows(map, "scores", &MapRow::scores));
  if (options.gradients) add_gradients(done, v, operand(in, "d_out", options.dtype), tensors);
  if (options.stats) {
    ReductionRequest request({entropy, received, distance, offsets});
    request.offset_reach = std::max<int64_t>(1, std::min<int64_t>(64, map.shape().keys));
    Progress progress("statistics");
    const ReductionResult result = map.reduce(request, {.progress = progress.callback()});
    tensors.emplace_back("entropy", result.entropy);
    tensors.emplace_back("received", result.received);
    tensors.emplace_back("distance", result.distance);
    tensors.emplace_back("offsets", result.offsets);
  }
  io::write_safetensors(options.out, tensors,
                        {{"spec", to_json(spec)}, {"backend", backend().name}, {"isa", to_string(done.record.stamp.isa)}});
  if (options.json) {
    Json json = Json::object(
        {{"out", options.out}, {"backend", backend().name}, {"isa", to_string(done.record.stamp.isa)}, {"tensors", Json::object()}});
    for (const auto& [name, tensor] : tensors) {
      Json shape = Json::array();
      for (const int64_t size : tensor.shape()) shape.push(size);
      json["tensors"][name] = shape;
    }
    print_json(json);
  } else {
    for (const auto& [name, tensor] : tensors) print(format("{:<12} {}", name, to_string(tensor.shape())));
    print(format("written to {} ({}, {})", options.out, backend().name, to_string(done.record.stamp.isa)));
  }
}

}  // namespace

void add_attend(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("attend", "Run one attention call on the tensors q, k and v of a safetensors file");
  command->footer(
      "Example: clearhead attend qkv.safetensors --spec spec.json -o out.safetensors --weights\n"
      "Tensors that the description names (slopes, bias, mask, sinks, …) come from the same file.\n"
      "docs/spec.md explains every field of the description and every tensor that is written.");
  command->add_option("in", options->in, "safetensors file with q [batch, head, query, d_k], k and v [batch, key_head, key, …]")
      ->required()
      ->type_name("FILE");
  command->add_option("--spec", options->spec, "JSON file with the description of the call (default: plain scaled dot-product attention)")
      ->type_name("FILE");
  command->add_option("-o,--out", options->out, "safetensors file to write: out and log_sum_exp (for sparsemax and entmax: threshold)")
      ->required()
      ->type_name("FILE");
  command->add_flag("--weights", options->weights, "Also write weights [batch, head, query, key]");
  command->add_flag("--scores", options->scores,
                    "Also write the final scores, before softmax [batch, head, query, key]; -inf where masked");
  command->add_flag("--stats", options->stats, "Also write entropy, received weight, distance and offsets");
  command->add_flag("--gradients", options->gradients,
                    "Also write d_q, d_k, d_v, and d_NAME of the description's f32 tensors. They need d_out\n"
                    "[batch, head, query, d_v] in the input, the gradient of the loss with respect to out");
  command
      ->add_option("--dtype", options->dtype,
                   "Round q, k, v and d_out to this dtype and compute attention in it (default: f32); the output is f32")
      ->check(CLI::IsMember({"f32", "bf16", "f16"}));
  command->add_flag("--as-used", options->as_used,
                    "Write the weights and statistics that a bf16 kernel used, with its rounding, instead of exact ones");
  command->add_option("--backend", options->backend, "ref (plain loops in double, slow) or cpu (fast); default: the best this machine has")
      ->check(CLI::IsMember({"ref", "cpu"}));
  command->add_flag("--json", options->json, "Print what was written as JSON");
  command->callback([options] { run(*options); });
}

}  // namespace clearhead::cli
