#include "bench/random_model.h"

#include <filesystem>
#include <vector>

#include "base/file.h"
#include "base/parallel.h"
#include "base/random.h"
#include "io/safetensors.h"
#include "models/architecture.h"

namespace clearhead::bench {
namespace {

class Writer {
 public:
  Writer(const Architecture& facts, uint64_t seed) : facts_(facts), seed_(seed) {}

  void add(const std::string& name, Shape shape, float spread = 0.02F, float middle = 0) {
    if (name.empty()) return;
    Tensor tensor = Tensor::empty(std::move(shape));
    float* to = tensor.mutable_data<float>();
    const uint64_t seed = random_bits(seed_, tensors_.size());
    parallel_ranges(tensor.numel(), 1 << 14, [&](int64_t begin, int64_t end, int) {
      for (int64_t i = begin; i < end; ++i) {
        const uint64_t bits = mix_bits(seed + static_cast<uint64_t>(i));
        // The sum of two uniform numbers: a triangular distribution of variance 1/6.
        const auto sum = static_cast<float>((bits & 0xFFFFFF) + ((bits >> 24) & 0xFFFFFF)) / static_cast<float>(1 << 24) - 1;
        to[i] = middle + spread * 2.4495F * sum;
      }
    });
    tensors_.emplace_back(facts_.prefix + filled(name), tensor);
  }
  void add(const LinearNames& names, int64_t in, int64_t out) {
    if (!names.weight.empty()) add(names.weight, names.input_first ? Shape{in, out} : Shape{out, in});
    add(names.bias, {out});
  }
  void add(const NormFacts& norm) {
    if (norm.kind == NormFacts::Kind::kNone) return;
    add(norm.weight, {facts_.width}, 0, 1);
    add(norm.bias, {facts_.width}, 0);
  }
  void set_layer(int64_t layer) { layer_ = layer; }
  const io::NamedTensors& tensors() const { return tensors_; }

 private:
  std::string filled(const std::string& name) const {
    const size_t at = name.find("{}");
    return at == std::string::npos ? name : name.substr(0, at) + std::to_string(layer_) + name.substr(at + 2);
  }
  const Architecture& facts_;
  uint64_t seed_;
  int64_t layer_ = 0;
  io::NamedTensors tensors_{};
};

void add_layer(Writer& writer, const Architecture& facts) {
  const ProjectionNames& names = facts.layer.projections;
  const int64_t queries = facts.heads * facts.head_dim, keys = facts.key_heads * facts.head_dim;
  writer.add(names.fused, facts.width, queries + 2 * keys);
  writer.add(names.query, facts.width, queries);
  writer.add(names.key, facts.width, keys);
  writer.add(names.value, facts.width, keys);
  writer.add(names.output, queries, facts.width);
  writer.add(facts.layer.attention_norm);
  writer.add(facts.layer.mlp_norm);
  writer.add(facts.layer.mlp.gate, facts.width, facts.mlp_width);
  writer.add(facts.layer.mlp.up, facts.width, facts.mlp_width);
  writer.add(facts.layer.mlp.down, facts.mlp_width, facts.width);
}

}  // namespace

void write_random_model(const std::string& directory, const std::string& config_json, uint64_t seed) {
  std::filesystem::create_directories(directory);
  const Architecture facts = read_architecture(Json::parse(config_json, "config.json"), "config.json");
  Writer writer(facts, seed);
  writer.add(facts.embedding.tokens, {facts.vocabulary, facts.width});
  writer.add(facts.embedding.types, {facts.embedding.type_count, facts.width});
  if (const auto* learned = std::get_if<LearnedPositions>(&facts.positions)) {
    writer.add(learned->weight, {facts.longest + learned->offset, facts.width});
  }
  writer.add(facts.embedding.norm);
  for (int64_t layer = 0; layer < facts.layers; ++layer) {
    writer.set_layer(layer);
    add_layer(writer, facts);
  }
  writer.add(facts.final_norm);
  if (facts.pooler) writer.add(facts.pooler->dense, facts.width, facts.width);
  if (facts.causal) writer.add(facts.causal->out, facts.width, facts.vocabulary);
  io::write_safetensors(directory + "/model.safetensors", writer.tensors());
  write_file(directory + "/config.json", config_json);
}

}  // namespace clearhead::bench
