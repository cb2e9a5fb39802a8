// Trajectories of pedestrians, from attention over time and between people. Attention between people: Vemula, Muelling & Oh 2018, "Social
// Attention"; a Transformer over the observed steps of a person: Giuliani et al. 2020. Inputs and outputs are those of Alahi et al. 2016.
//
//   z_i = the last row of Transformer layers over e_i1 … e_iT      e_it = W [p_it, Δp_it] + position t, in person i's frame of reference
//   s_ij = q_i·k_j/√d + b(r_ij)                                    r_ij: position, velocity of j relative to i, and i's velocity
//   g_i = Σ_j α_ij [v_j, r_ij]      α_i = softmax_j s_ij           over the people j of the window, i included; b: one hidden layer
//   ŷ_it = p_i + t·u_i + R_i MLP(z_i + W_g g_i)_t                  u_i: velocity of the last step; R_i: to the axes of the scene
//
// An untrained model predicts constant velocity. Σ_j α_ij r_ij contains the mean position and velocity of the people whom i attends to,
// weighted by α. It is computed in the axes of the scene and rotated afterwards, which gives the same result.
//
//   "interaction": false   without attention between people: Σ_j and W_g are left out
#include <algorithm>

#include "base/format.h"
#include "clearhead/error.h"
#include "models/networks/networks.h"
#include "models/tracks.h"

namespace clearhead {
namespace {

constexpr int64_t kStepNumbers = 4;                                                 // position and displacement
constexpr int64_t kPersonNumbers = 4;                                               // x, velocity x, y, velocity y
constexpr int64_t kRelationNumbers = 6;                                             // relative position, relative velocity, own velocity
constexpr float kDisplacementUnit = 0.2F, kVelocityUnit = 0.5F, kPositionUnit = 3;  // in metres: the network reads numbers of size 1

class SocialAttention final : public Network {
 public:
  SocialAttention(Fields& config, NetworkFacts facts, const Scope& scope) : dropout_(rate_of(config, "dropout")) {
    facts_ = std::move(facts);
    const int64_t outputs = 2 * facts_.tracks->predicted;
    if (static_cast<int64_t>(facts_.labels.size()) != outputs)
      config.wrong("id2label", format("{} labels, x and y of each predicted step", outputs),
                   Json(static_cast<int64_t>(facts_.labels.size())));
    const int64_t width = facts_.width = size_of(config, "hidden_size", 1 << 16);
    heads_ = facts_.heads = size_of(config, "num_attention_heads", width);
    if (width % heads_ != 0) config.wrong("num_attention_heads", format("a divisor of {}, the hidden size", width), Json(heads_));
    facts_.layers = size_of(config, "num_hidden_layers", 100);
    const int64_t inner = size_of(config, "intermediate_size", 1 << 16);
    embedding_ = {scope / "embedding", kStepNumbers, width};
    positions_ = {scope / "positions", facts_.tracks->observed, width, Init::normal(0.1)};
    for (int64_t at = 0; at < facts_.layers; ++at) {
      const Site site{.family = "time", .layer = static_cast<int>(at), .queries = "step", .keys = "step"};
      layers_.emplace_back(scope / "layers" / at, width, heads_,
                           nn::TransformerLayerOptions{.attention = {.site = site}, .mlp_width = inner, .dropout = dropout_});
    }
    norm_ = {scope / "norm", width};
    if (config.boolean_or("interaction", true)) {
      relation_hidden_ = {scope / "relation" / "hidden", kRelationNumbers, 4 * heads_};
      relation_output_ = {scope / "relation" / "output", 4 * heads_, heads_};
      people_ = {scope / "people", width, 3 * width};
      social_ = {scope / "social", width + heads_ * kPersonNumbers, width};
    }
    hidden_ = {scope / "hidden", width, inner};
    output_ = {scope / "output", inner, outputs, {.init = Init::zeros()}};
  }

  // input.features: [scene·person, 2·observed] → [scene·person, 2·predicted], metres from the last position: all x, then all y
  Tensor logits(Compute& compute, const Batch& input, const Batch*) const override {
    const std::vector<PersonState> states = states_of(input);
    Tensor z = over_time(compute, input, states);
    if (social_) z = compute.add(z, compute.dropout(between_people(compute, z, input.layout(), states), dropout_));
    const Tensor hidden = compute.activate("gelu", hidden_(compute, z));
    return in_scene(compute, output_(compute, compute.dropout(hidden, dropout_)), states);
  }

 private:
  std::vector<PersonState> states_of(const Batch& input) const {
    std::vector<PersonState> out;
    const int64_t numbers = 2 * facts_.tracks->observed;
    for (int64_t row = 0; row < input.features.size(0); ++row)
      out.push_back(person_state(*facts_.tracks, input.features.data<float>() + row * numbers));
    return out;
  }

  // → [scene·person, width]
  Tensor over_time(Compute& compute, const Batch& input, const std::vector<PersonState>& states) const {
    const int64_t rows = input.features.size(0), steps = facts_.tracks->observed;
    Tensor read = Tensor::empty({rows * steps, kStepNumbers});
    float* to = read.mutable_data<float>();
    for (int64_t row = 0; row < rows; ++row) {
      const PersonState& person = states[static_cast<size_t>(row)];
      const float* from = input.features.data<float>() + row * 2 * steps;
      for (int64_t step = 0; step < steps; ++step, to += kStepNumbers) {
        const float x = from[2 * step] - person.x, y = from[2 * step + 1] - person.y;
        const int64_t before = std::max<int64_t>(0, step - 1);
        const float dx = from[2 * step] - from[2 * before], dy = from[2 * step + 1] - from[2 * before + 1];
        to[0] = person.cosine * x + person.sine * y;
        to[1] = person.cosine * y - person.sine * x;
        to[2] = (person.cosine * dx + person.sine * dy) / kDisplacementUnit;
        to[3] = (person.cosine * dy - person.sine * dx) / kDisplacementUnit;
      }
    }
    const Layout each{rows, steps};
    Tensor z = positions_(compute, embedding_(compute, read), each);
    const Layout together = layout_of_steps(input.layout());
    for (const nn::TransformerLayer& layer : layers_) {
      // If the call is observed, all steps of a scene are one sequence with one segment for each person, so that a scene has one map.
      z = layer(compute, z, compute.observes(layer.attention.site) ? together : each);
    }
    return norm_(compute, compute.contiguous(z.reshape({rows, steps, facts_.width}).select(1, steps - 1)));
  }

  Layout layout_of_steps(const Layout& people) const {
    const int64_t steps = facts_.tracks->observed;
    Layout out{.batch = people.batch, .length = people.length * steps};
    for (int64_t scene = 0; scene < people.batch; ++scene) {
      const int64_t present = people.lengths.empty() ? people.length : people.lengths[static_cast<size_t>(scene)];
      for (int64_t at = 0; at < out.length; ++at) out.texts.push_back(at < present * steps ? static_cast<int32_t>(at / steps) : -1);
    }
    return out;
  }

  // z: [scene·person, width] → the same shape
  Tensor between_people(Compute& compute, const Tensor& z, const Layout& people, const std::vector<PersonState>& states) const {
    const int64_t scenes = people.batch, count = people.length, width = facts_.width, channels = width / heads_, rows = scenes * count;
    const Tensor qkv = people_(compute, z).reshape({scenes, count, 3 * heads_, channels}).permute({0, 2, 1, 3});
    const Tensor own = person_numbers(states, people);  // [scene·person, 1, number]
    const Tensor of_people = own.reshape({scenes, 1, count, kPersonNumbers}).expand({scenes, heads_, count, kPersonNumbers});
    const Tensor v = compute.concat({qkv.slice(1, 2 * heads_, 3 * heads_), of_people}, 3);
    const Tensor hidden = compute.activate("gelu", relation_hidden_(compute, relations(states, people)));
    const Tensor bias = relation_output_(compute, hidden).reshape({scenes, count, count, heads_}).permute({0, 3, 1, 2});
    AttentionSpec spec{.terms = {AttentionBias{compute.contiguous(bias)}}};
    spec.topology.segments = Segments{people.segments(), people.segments()};
    const Site site{.family = "people", .queries = "person", .keys = "person"};
    const Tensor out = compute.attend(qkv.slice(1, 0, heads_), qkv.slice(1, heads_, 2 * heads_), v, spec, site);
    const Tensor by_person = compute.contiguous(out.permute({0, 2, 1, 3})).reshape({rows, heads_, channels + kPersonNumbers});
    const Tensor values = compute.contiguous(by_person.slice(2, 0, channels)).reshape({rows, width});
    const Tensor seen = compute.contiguous(by_person.slice(2, channels, channels + kPersonNumbers));
    const Tensor minus = Tensor::from<float>({-1}, {1, 1, 1}).expand({rows, 1, kPersonNumbers});
    const Tensor relative = compute.add(seen, compute.multiply(own, minus).expand(seen.shape()));
    const Tensor turned = rotated(compute, relative, states, -1).reshape({rows, heads_ * kPersonNumbers});
    return social_(compute, compute.concat({values, turned}, 1));
  }

  // Positions relative to the scene's first person, and velocities, in the axes of the scene: x, velocity x, y, velocity y.
  static Tensor person_numbers(const std::vector<PersonState>& states, const Layout& people) {
    Tensor out = Tensor::empty({people.rows(), 1, kPersonNumbers});
    float* to = out.mutable_data<float>();
    for (size_t row = 0; row < states.size(); ++row, to += kPersonNumbers) {
      const PersonState& person = states[row];
      const PersonState& first = states[row - row % static_cast<size_t>(people.length)];
      to[0] = (person.x - first.x) / kPositionUnit;
      to[1] = person.mean_velocity_x / kVelocityUnit;
      to[2] = (person.y - first.y) / kPositionUnit;
      to[3] = person.mean_velocity_y / kVelocityUnit;
    }
    return out;
  }

  // The numbers r_ij of every pair, in person i's frame of reference.   → [scene·person·person, number]
  static Tensor relations(const std::vector<PersonState>& states, const Layout& people) {
    Tensor out = Tensor::empty({people.rows() * people.length, kRelationNumbers});
    float* to = out.mutable_data<float>();
    for (size_t row = 0; row < states.size(); ++row) {
      const PersonState& own = states[row];
      const size_t first = row - row % static_cast<size_t>(people.length);
      const auto turn = [&](float x, float y, float unit) {
        *to++ = (own.cosine * x + own.sine * y) / unit;
        *to++ = (own.cosine * y - own.sine * x) / unit;
      };
      for (size_t at = first; at < first + static_cast<size_t>(people.length); ++at) {
        const PersonState& other = states[at];
        turn(other.x - own.x, other.y - own.y, kPositionUnit);
        turn(other.mean_velocity_x - own.mean_velocity_x, other.mean_velocity_y - own.mean_velocity_y, kVelocityUnit);
        turn(own.mean_velocity_x, own.mean_velocity_y, kVelocityUnit);
      }
    }
    return out;
  }

  // Rotates vectors by each person's angle times `direction` (1 or −1).   x: [person, …, 2·n], the first coordinates of n vectors, then
  // the second ones
  static Tensor rotated(Compute& compute, const Tensor& x, const std::vector<PersonState>& states, float direction) {
    const int axis = x.rank() - 1;
    const int64_t half = x.size(axis) / 2;
    std::vector<float> cosines, sines, minus_sines;
    for (const PersonState& person : states) {
      cosines.push_back(person.cosine);
      sines.push_back(direction * person.sine);
      minus_sines.push_back(-direction * person.sine);
    }
    const Tensor first = compute.contiguous(x.slice(axis, 0, half)), second = compute.contiguous(x.slice(axis, half, 2 * half));
    const auto times = [&](const Tensor& part, const std::vector<float>& factors) {
      Shape shape(static_cast<size_t>(x.rank()), 1);
      shape.front() = x.size(0);
      return compute.multiply(part, Tensor::from(factors, shape).expand(part.shape()));
    };
    return compute.concat(
        {compute.add(times(first, cosines), times(second, minus_sines)), compute.add(times(first, sines), times(second, cosines))}, axis);
  }

  // Adds constant velocity to the outputs, which are in each person's frame of reference.
  Tensor in_scene(Compute& compute, const Tensor& y, const std::vector<PersonState>& states) const {
    const int64_t steps = facts_.tracks->predicted;
    Tensor constant = Tensor::empty(y.shape());
    float* to = constant.mutable_data<float>();
    for (const PersonState& person : states) {
      for (int64_t step = 1; step <= steps; ++step) *to++ = static_cast<float>(step) * person.velocity_x;
      for (int64_t step = 1; step <= steps; ++step) *to++ = static_cast<float>(step) * person.velocity_y;
    }
    return compute.add(rotated(compute, y, states, 1), constant);
  }

  double dropout_;
  int64_t heads_ = 1;
  nn::Linear embedding_{}, relation_hidden_{}, relation_output_{}, people_{}, social_{}, hidden_{}, output_{};
  nn::Positions positions_{};
  std::vector<nn::TransformerLayer> layers_{};
  nn::LayerNorm norm_{};
};

}  // namespace

const NetworkKind& social_attention_network() {
  static const NetworkKind kind{"social_attention", "crowd", &make_network<SocialAttention>};
  return kind;
}

}  // namespace clearhead
