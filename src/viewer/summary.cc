// Formats the score of a pair with its terms, the normaliser around it, and then what a token sees.
#include "viewer/summary.h"

#include <algorithm>
#include <cmath>

#include "base/format.h"
#include "spec/names.h"

namespace clearhead::viewer {
namespace {

std::string number(double value) { return format("{:.4g}", value); }

struct ScoreOfPair {
  int64_t d_k;
  std::string operator()(const Dot& dot) const {
    const double usual = 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(1, d_k)));
    const double scale = dot.scale ? static_cast<double>(*dot.scale) : usual;
    if (std::abs(scale - 1) <= 1e-6) return "q·k";
    if (std::abs(scale - usual) <= 1e-6 * usual) return format("q·k/√{}", d_k);
    return number(scale) + "·q·k";
  }
  std::string operator()(const Additive& additive) const {
    return additive.activation == Additive::Activation::kTanh ? "w·tanh(q + k)" : "w·LeakyReLU(q + k)";
  }
  std::string operator()(const Relative& relative) const {
    std::string score = relative.query_bias ? "q·k + (q + u)·A[j − i]" : "q·k + q·A[j − i]";
    if (relative.queries) score += " + k·B[j − i]";
    return relative.scale ? number(static_cast<double>(*relative.scale)) + "·(" + score + ")" : format("({})/√{}", score, d_k);
  }
};

// Describes which keys a query sees, for example "a token sees itself and all before it".
std::string sight_of(const Band& band, bool of_tokens) {
  std::string sees = of_tokens ? "every token sees every token" : "every query sees every key";
  if (band.ahead && *band.ahead == 0) {
    sees = band.back ? format("a token sees itself and {} before it", with_commas(*band.back)) : "a token sees itself and all before it";
  } else if (band.back || band.ahead) {
    sees = format("a token sees {} before and {} after it", band.back ? with_commas(*band.back) : "all",
                  band.ahead ? with_commas(*band.ahead) : "all");
  }
  if (band.offset != 0) sees += format(", from {} keys {}", with_commas(std::abs(band.offset)), band.offset > 0 ? "later" : "earlier");
  return sees;
}

}  // namespace

std::string summary_of(const AttentionSpec& spec, int64_t d_k, bool of_tokens) {
  std::string score = std::visit(ScoreOfPair{d_k}, spec.score);
  for (const Term& term : spec.terms) {
    if (std::holds_alternative<Alibi>(term)) score += " − slope·distance";
    if (std::holds_alternative<AttentionBias>(term)) score += " + bias";
    if (std::holds_alternative<Rule>(term)) score = "rule(" + score + ")";
    if (std::holds_alternative<EdgeBias>(term)) score += " + edge bias";
    if (const SoftCap* cap = std::get_if<SoftCap>(&term))
      score = format("{}·tanh(({})/{})", number(static_cast<double>(cap->cap)), score, number(static_cast<double>(cap->cap)));
  }
  std::string out = name_of(spec.normaliser) + ("(" + score) + "), " + sight_of(spec.topology.band, of_tokens);
  if (spec.topology.segments) out += " in its own segment";
  if (spec.topology.mask) out += " where the mask allows";
  if (spec.topology.visible) out += " where the rule allows";
  if (spec.topology.block_sparse) out += " in the key blocks listed for it";
  const Softmax* softmax = std::get_if<Softmax>(&spec.normaliser);
  if (softmax && softmax->sinks) out += "; a sink logit takes some weight from every row";
  return out;
}

}  // namespace clearhead::viewer
