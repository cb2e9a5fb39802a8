// P ⊙ ∂y/∂P of one layer, signed.
#include "base/format.h"
#include "clearhead/error.h"
#include "explain/attribution_parts.h"
#include "explain/listener.h"

namespace clearhead::explain {
namespace {

// Takes P ⊙ ∂y/∂P of one layer when the backward pass reaches it.
class OneGradient final : public Listener {
 public:
  OneGradient(const AttributionTarget& target, const AttributionOptions& options, Site site)
      : target_(target), options_(options), site_(std::move(site)) {}
  bool wants_gradient(const Site& site) override { return site.family == site_.family && site.layer == site_.layer; }
  void take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) override {
    const GradientMap map(record, gradient);
    side = key_side(site);
    keys = of_heads(record.shape(), options_.head, [&](int64_t head, double factor, Vector& to) {
      for (const int64_t row : rows_in(target_, record)) {
        const std::vector<float> of_row = map.row(0, head, row);
        for (size_t key = 0; key < to.size(); ++key) to[key] += factor * static_cast<double>(of_row[key]);
      }
    });
  }
  Vector keys{};
  std::string side{};

 private:
  const AttributionTarget& target_;
  const AttributionOptions& options_;
  Site site_;
};

Vector attention_gradient(const AttributionTarget& target, const AttributionOptions& options) {
  const Site site = looked_at(target, options.layer);
  OneGradient heard(target, options, site);
  InputTape tape;
  target.differentiate(tape, &heard);
  if (heard.keys.empty())
    fail(ErrorCode::kUnsupported, "why: no gradient reached the attention of the family \"{}\" in layer {}", site.family, site.layer);
  return by_id(target, heard.side, heard.keys);
}

}  // namespace

const Method& attention_gradient_method() {
  static const Method method = {
      .order = 60,
      .name = "attention-gradient",
      .what = "weight times its gradient, last layer",
      .needs_gradients = true,
      .of_a_layer = true,
      .of_heads = true,
      .of_ids = attention_gradient,
  };
  return method;
}

}  // namespace clearhead::explain
