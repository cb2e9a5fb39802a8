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
Bilingual sight_of(const Band& band, bool of_tokens) {
  const auto count = [](std::optional<int64_t> keys, const char* all) { return keys ? with_commas(*keys) : std::string(all); };
  Bilingual sees = of_tokens ? Bilingual{"every token sees every token", "每个词元可见全部词元"}
                             : Bilingual{"every query sees every key", "每个查询可见全部键"};
  if (band.ahead && *band.ahead == 0) {
    sees = {format("a token sees itself and {} before it", count(band.back, "all")),
            band.back ? format("词元可见自身及之前 {} 个词元", with_commas(*band.back)) : "词元可见自身及之前的全部词元"};
  } else if (band.back || band.ahead) {
    sees = {format("a token sees {} before and {} after it", count(band.back, "all"), count(band.ahead, "all")),
            format("词元可见之前 {} 个、之后 {} 个词元", count(band.back, "全部"), count(band.ahead, "全部"))};
  }
  if (band.offset != 0) {
    const std::string keys = with_commas(std::abs(band.offset));
    sees.en += format(", from {} keys {}", keys, band.offset > 0 ? "later" : "earlier");
    sees.zh += format("，起点{} {} 个键", band.offset > 0 ? "后移" : "前移", keys);
  }
  return sees;
}

}  // namespace

Bilingual summary_of(const AttentionSpec& spec, int64_t d_k, bool of_tokens) {
  std::string score = std::visit(ScoreOfPair{d_k}, spec.score);
  for (const Term& term : spec.terms) {
    if (std::holds_alternative<Alibi>(term)) score += " − slope·distance";
    if (std::holds_alternative<AttentionBias>(term)) score += " + bias";
    if (std::holds_alternative<Rule>(term)) score = "rule(" + score + ")";
    if (std::holds_alternative<EdgeBias>(term)) score += " + edge bias";
    if (const SoftCap* cap = std::get_if<SoftCap>(&term))
      score = format("{}·tanh(({})/{})", number(static_cast<double>(cap->cap)), score, number(static_cast<double>(cap->cap)));
  }
  const std::string formula = name_of(spec.normaliser) + ("(" + score) + ")";
  const Bilingual sight = sight_of(spec.topology.band, of_tokens);
  Bilingual out{formula + ", " + sight.en, formula + "，" + sight.zh};
  const auto add = [&](bool holds, const char* en, const char* zh) {
    if (holds) out.en += en, out.zh += zh;
  };
  add(spec.topology.segments.has_value(), " in its own segment", "（限同一段）");
  add(spec.topology.mask.has_value(), " where the mask allows", "（限掩码允许之处）");
  add(spec.topology.visible.has_value(), " where the rule allows", "（限规则允许之处）");
  add(spec.topology.block_sparse.has_value(), " in the key blocks listed for it", "（限其列出的键块）");
  const Softmax* softmax = std::get_if<Softmax>(&spec.normaliser);
  add(softmax && softmax->sinks, "; a sink logit takes some weight from every row", "；汇点 logit 从每行取走一部分权重");
  return out;
}

}  // namespace clearhead::viewer
