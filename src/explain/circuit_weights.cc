// Finds the tensors by the names in the model's Architecture, as its Transformer does, and unpacks fused and transposed projections.
#include "explain/circuit_weights.h"

#include <cmath>
#include <variant>

#include "base/file.h"
#include "base/format.h"
#include "io/safetensors.h"
#include "models/architecture.h"
#include "models/find_model.h"
#include "models/weights.h"

namespace clearhead::explain {
namespace {

std::string name_of(const NoPositions&) { return ""; }
std::string name_of(const LearnedPositions&) { return "learned"; }
std::string name_of(const RotaryPositions&) { return "rotary"; }
std::string name_of(const PhasePositions&) { return "phases"; }
std::string name_of(const SinusoidalPositions&) { return "sinusoidal"; }
std::string name_of(const LayerSinusoids&) { return "sinusoids of each layer"; }

Tensor rows_of(const nn::Linear& linear) {
  return static_cast<const LiveWeight&>(*linear.weight).values;  // StoredWeights::live
}

}  // namespace

struct CircuitWeights::State {
  ModelInfo info;
  Architecture facts;
  std::unique_ptr<Weights> weights{};
  VocabularyEnds ends{};

  [[noreturn]] void refuse(const std::string& reason) const { fail(ErrorCode::kUnsupported, "circuits: {}: {}", info.name, reason); }

  void check() const {
    if (facts.encoder) refuse("the circuits of encoder-decoders are not supported; expected a decoder such as GPT-2 or Llama");
    if (!info.has_causal) refuse("the model has no next-token head, so its heads write to no vocabulary; expected a decoder");
    if (facts.embedding.norm.kind != NormFacts::Kind::kNone ||
        (facts.layer.placement == LayerFacts::NormPlacement::kPost && facts.layer.attention_norm.kind != NormFacts::Kind::kNone))
      refuse("its norms follow the blocks (post-norm), so the heads of a layer do not read the residual stream; expected a pre-norm model");
    if (const auto* sinusoids = std::get_if<LayerSinusoids>(&facts.positions); sinusoids && sinusoids->of == LayerSinusoids::Of::kOffsets)
      refuse("its scores are not dot products of queries and keys (Transformer-XL)");
  }

  void read_ends(const io::SafeTensors& file) {
    ends.embedding = weights->table(facts.embedding.tokens, facts.vocabulary, facts.width);
    ends.scale = facts.embedding.scale;
    ends.final_norm = weights->norm(facts.final_norm, facts.width);
    const LinearNames& out = facts.causal->out;
    const bool is_tied = facts.causal->is_tied && name_in(file, facts, out.weight).empty();
    ends.unembedding = is_tied           ? ends.embedding
                       : out.input_first ? rows_of(weights->linear(out, facts.width, facts.vocabulary))
                                         : weights->table(out.weight, facts.vocabulary, facts.width);
  }
};

CircuitWeights::CircuitWeights(const std::string& name) : state_(std::make_unique<State>()) {
  State& state = *state_;
  state.info = describe_model(name);
  if (!state.info.takes_positions)
    fail(ErrorCode::kUnsupported, "circuits: {}: a model of type \"{}\" is not a Transformer; expected a decoder such as GPT-2 or Llama",
         state.info.name, state.info.model_type);
  const std::string path = state.info.directory + "/config.json";
  state.facts = read_architecture(Json::parse(read_config(path), path), path);
  state.check();
  const io::SafeTensors file = io::SafeTensors::open_model(state.info.directory);
  state.weights = std::make_unique<Weights>(file, state.facts, StoredWeights{.storage = WeightStorage::kF32, .live = true});
  state.read_ends(file);
}

CircuitWeights::~CircuitWeights() = default;

const ModelInfo& CircuitWeights::info() const { return state_->info; }
const VocabularyEnds& CircuitWeights::ends() const { return state_->ends; }

std::string CircuitWeights::positions() const {
  return std::visit([](const auto& positions) { return name_of(positions); }, state_->facts.positions);
}

AttentionWeights CircuitWeights::layer(int64_t layer) const {
  const Architecture& facts = state_->facts;
  if (layer < 0 || layer >= facts.layers)
    fail(ErrorCode::kInvalidArgument, "circuits: layer {} is out of range; {} has layers 0 to {}", layer, state_->info.name,
         facts.layers - 1);
  Weights& weights = *state_->weights;
  weights.set_layer(layer);
  AttentionWeights out{.norm = weights.norm(facts.layer.attention_norm, facts.width),
                       .heads = facts.heads,
                       .key_heads = facts.key_heads,
                       .head_dim = facts.head_dim};
  const int64_t queries = facts.heads * facts.head_dim, keys = facts.key_heads * facts.head_dim;
  const ProjectionNames& names = facts.layer.projections;
  const nn::Linear projection = names.fused.weight.empty()
                                    ? weights.linear({{names.query, queries}, {names.key, keys}, {names.value, keys}}, facts.width)
                                    : weights.linear(names.fused, facts.width, queries + 2 * keys);
  const Tensor rows = rows_of(projection);
  out.query = rows.slice(0, 0, queries);
  out.key = rows.slice(0, queries, queries + keys);
  out.value = rows.slice(0, queries + keys, queries + 2 * keys);
  if (projection.bias.defined()) out.query_bias = projection.bias.slice(0, 0, queries);
  out.output = rows_of(weights.linear(names.output, queries, facts.width)).permute({1, 0}).contiguous();
  out.scale = facts.attention_of(layer).scale.value_or(1 / std::sqrt(static_cast<double>(facts.head_dim)));
  return out;
}

}  // namespace clearhead::explain
