// A policy with attention over the memory of past observations (Vaswani et al. 2017, causal; for reinforcement learning: Parisotto et al.
// 2020), and the value of each state, the baseline of REINFORCE (Sutton & Barto 2018, §13.4).
//
//   x_t = W [E s_t1; …; E s_tn] + b      observation t has n words
//   z   = causal Transformer layers over x_1 … x_t: step t attends to itself and to the memory_size − 1 steps before it
//   π(a | s_1 … s_t) = softmax(W_a norm(z_t))      V(s_1 … s_t) = w_v · norm(z_t)
//
//   "memory_size"      1: no memory, the policy sees the current observation only
//   "words_per_step"   n; further words of an observation are not read, missing ones are padding
//   "rotary"           true: queries and keys are rotated by the step's number, so scores can depend on the age of a memory
#include "base/format.h"
#include "models/networks/networks.h"

namespace clearhead {
namespace {

class MemoryPolicy final : public Network {
 public:
  MemoryPolicy(Fields& config, NetworkFacts facts, const Scope& scope)
      : words_per_step_(size_of(config, "words_per_step", 1000)), dropout_(rate_of(config, "dropout")) {
    if (facts.labels.empty()) config.wrong("id2label", "the actions", Json());
    if (facts.vocabulary < 1) config.wrong("vocab_size", "1 or more tokens", Json(facts.vocabulary));
    facts_ = std::move(facts);
    const int64_t width = facts_.width = size_of(config, "hidden_size");
    const int64_t heads = facts_.heads = size_of(config, "num_attention_heads", width);
    if (width % heads != 0) config.wrong("num_attention_heads", format("a divisor of {}, the hidden size", width), Json(heads));
    facts_.layers = size_of(config, "num_hidden_layers", 100);
    const int64_t memory = size_of(config, "memory_size"), word_width = size_of(config, "word_size");
    const bool rotates = config.boolean_or("rotary", false);
    if (rotates && width / heads % 2 != 0)
      config.wrong("rotary", format("false, or an even hidden_size / num_attention_heads, which is {}", width / heads), Json(true));
    words_ = {scope / "words", facts_.vocabulary, word_width, Init::normal(1)};
    observation_ = {scope / "observation", words_per_step_ * word_width, width};
    for (int64_t at = 0; at < facts_.layers; ++at) {
      nn::TransformerLayerOptions options{.mlp_width = 2 * width, .dropout = dropout_};
      // kStart, which interventions require at a site with named queries and keys. Equal to kEnd here: as many queries as keys.
      options.attention.spec.topology = causal(memory - 1, Align::kStart);
      options.attention.site = {.family = "memory", .layer = static_cast<int>(at), .queries = "step", .keys = "step"};
      if (rotates) options.attention.rotary = Rotary{};
      layers_.emplace_back(scope / "layers" / at, width, heads, options);
    }
    norm_ = {scope / "norm", width};
    action_ = {scope / "action", width, static_cast<int64_t>(facts_.labels.size())};
    value_ = {scope / "value", width, 1};
  }

  // The logits of the actions after the last step of each episode.   → [episode, action]
  Tensor logits(Compute& compute, const Batch& input, const Batch*) const override {
    const Layout& steps = input.groups;
    std::vector<int32_t> last;
    for (int64_t episode = 0; episode < steps.batch; ++episode)
      last.push_back(static_cast<int32_t>(episode * steps.length + steps.lengths[static_cast<size_t>(episode)] - 1));
    return action_(compute, compute.embed(states(compute, input), last));
  }

  // The logits of the actions after every step, then the state's value.   → [episode·step, action + 1]
  Tensor training_output(Compute& compute, const Batch& input, const Batch*) const override {
    const Tensor x = states(compute, input);
    return compute.concat({action_(compute, x), value_(compute, x)}, 1);
  }

 private:
  // [episode·step, width]
  Tensor states(Compute& compute, const Batch& input) const {
    std::vector<int32_t> ids;
    for (int64_t step = 0; step < input.batch; ++step) {
      const int64_t length = input.lengths[static_cast<size_t>(step)];
      for (int64_t word = 0; word < words_per_step_; ++word)
        ids.push_back(word < length ? input.ids[static_cast<size_t>(step * input.length + word)] : facts_.pad);
    }
    const Tensor words = words_(compute, ids);
    Tensor x = observation_(compute, words.reshape({input.batch, words_per_step_ * words.size(1)}));
    for (const nn::TransformerLayer& layer : layers_) x = layer(compute, x, input.groups);
    return norm_(compute, x);
  }

  int64_t words_per_step_;
  double dropout_;
  nn::Embedding words_{};
  nn::Linear observation_{}, action_{}, value_{};
  std::vector<nn::TransformerLayer> layers_{};
  nn::LayerNorm norm_{};
};

}  // namespace

const NetworkKind& memory_policy_network() {
  static const NetworkKind kind{"memory_policy", "trajectory", &make_network<MemoryPolicy>};
  return kind;
}

}  // namespace clearhead
