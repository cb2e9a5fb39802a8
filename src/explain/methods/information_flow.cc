// Information flow over several hops: relevance whose credit on the answer's own tokens is passed on to what these tokens were written from.
//
//   s    the relevance of the rows of the answer: credit on the prompt and on the answer's own tokens
//   hop  the credit of each token of the answer starts a walk at the row that wrote it; the result is scaled to the credit that was passed
//
// The hops end when less than 1 % of the credit lies on the answer. The sum of all credit stays that of the relevance. One backward pass
// serves all hops, so an answer of any length costs one run forward and back. For an answer of one token this is relevance. Passing credit
// on within one pass over a span follows Pan et al. 2026 (FlashTrace), which weights by proximity in place of gradients.
#include <algorithm>
#include <map>
#include <numeric>

#include "base/format.h"
#include "clearhead/error.h"
#include "explain/attribution_parts.h"
#include "explain/input_tape.h"
#include "explain/listener.h"

namespace clearhead::explain {
namespace {

constexpr int kHops = 64;             // limit; each hop reaches at least one token further back
constexpr double kCreditLeft = 0.01;  // of the whole credit

// The gradient maps of a run, the last call first.
class GradientMaps final : public Listener {
 public:
  bool wants_gradient(const Site&) override { return true; }
  void take_gradient(const Site& site, const AttentionRecord& record, const OutputGradient& gradient) override {
    if (record.shape().batch == 1)  // otherwise attention within each item, not between items
      kept.push_back({site, {record.pin(), {gradient.d_out.contiguous(), gradient.values.contiguous()}, GradientLook::kPositive}});
  }
  struct Kept {
    Site site{};
    GradientMap map;
  };
  std::vector<Kept> kept{};
};

// The relevance of the vector r on the answer's side, without r itself.
Vector relevance_of(const GradientMaps& maps, const std::string& side, const Vector& r, const AttributionOptions& options) {
  Vector now = r;
  for (const GradientMaps::Kept& call : maps.kept) {
    check_cancelled(options);
    if (query_side(call.site) != side || key_side(call.site) != side) continue;
    add(now, mean_of_heads(call.map.transposed_times(row_tensor(now), {.cancel = options.cancel})));
  }
  add(now, r, -1);
  return now;
}

double sum(const Vector& of, const Range& range) { return std::accumulate(of.begin() + range.begin, of.begin() + range.end, 0.0); }

Vector information_flow(const AttributionTarget& target, const AttributionOptions& options) {
  if (layers_of(target, "cross") > 0)
    fail(ErrorCode::kUnsupported, "{}: information flow needs a model that reads prompt and answer as one text; use relevance",
         target.name());
  GradientMaps maps;
  InputTape tape;
  target.differentiate(tape, &maps);
  if (maps.kept.empty()) fail(ErrorCode::kUnsupported, "why: no gradient reached the attention of this model");
  const auto length = static_cast<int64_t>(ids_of_side(target.plan(), target.side()).size());
  const Range written = target.written();
  Vector credit = relevance_of(maps, target.side(), start(target, length), options);
  const double whole = sum(credit, {0, length});
  for (int hop = 0; hop < kHops && sum(credit, written) > kCreditLeft * whole; ++hop) {
    Vector passed(credit.size());
    const double amount = sum(credit, written);
    for (int64_t token = written.begin; token < written.end; ++token) {
      passed[static_cast<size_t>(token - 1)] = std::exchange(credit[static_cast<size_t>(token)], 0.0);
    }
    const Vector reached = relevance_of(maps, target.side(), passed, options);
    const double total = sum(reached, {0, length});
    if (total > 0) add(credit, reached, amount / total);
    if (options.progress) options.progress(1 - sum(credit, written) / whole);
  }
  Vector of_ids(target.plan().text.ids.size());
  place(target, target.side(), credit, of_ids);
  return of_ids;
}

}  // namespace

const Method& information_flow_method() {
  static const Method method = {
      .order = 75,
      .name = "information-flow",
      .what = "relevance, with the credit of the answer's own tokens passed on to what wrote them",
      .needs_gradients = true,
      .shares = [](const AttributionTarget& target,
                   const AttributionOptions& options) { return target.by_item(information_flow(target, options)); },
      .runs = [](const AttributionTarget&, const AttributionOptions&) { return kForwardAndBack; },
  };
  return method;
}

}  // namespace clearhead::explain
