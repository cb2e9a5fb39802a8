// Information flow over several hops: relevance (relevance.cc) in which the share of each token of the answer is passed on to the tokens
// from which the model wrote it.
//
//   first   s = relevance of the rows of the answer: shares of the prompt and of the answer's own tokens
//   hop     r = the shares of the answer's tokens, each moved to the row that wrote the token
//           s ← s, with 0 for the answer's tokens, + relevance(r) · Σr / Σrelevance(r)
//
// Hops end when at most 1 % of the total share lies on the answer's tokens, or after 64 hops. A hop keeps the total share, unless nothing is
// relevant to the rows in r; then their shares are dropped. All hops use the gradients of one backward pass. For an answer of one token the
// shares are those of relevance. The recursion over the tokens of an answer follows Pan et al. 2026 (FlashTrace), who use the proximity of
// vectors where relevance uses gradients.
#include <numeric>
#include <utility>

#include "base/format.h"
#include "clearhead/error.h"
#include "explain/attribution_parts.h"
#include "explain/input_tape.h"

namespace clearhead::explain {
namespace {

constexpr int kHops = 64;            // limit; each hop reaches at least one token further back
constexpr double kShareLeft = 0.01;  // of the total share

// The relevance of the vector r on the answer's side, without r itself.
Vector relevance_of(const KeptGradients& maps, const std::string& side, const Vector& r, const AttributionOptions& options) {
  Vector now = r;
  for (const KeptGradients::Kept& call : maps.kept) {
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
  KeptGradients maps;
  InputTape tape;
  target.differentiate(tape, &maps);
  if (maps.kept.empty()) fail(ErrorCode::kUnsupported, "why: no gradient reached the attention of this model");
  const auto length = static_cast<int64_t>(ids_of_side(target.plan(), target.side()).size());
  const Range written = target.written();
  Vector shares = relevance_of(maps, target.side(), start(target, length), options);
  const double total_share = sum(shares, {0, length});
  for (int hop = 0; hop < kHops && sum(shares, written) > kShareLeft * total_share; ++hop) {
    Vector passed(shares.size());
    const double amount = sum(shares, written);
    for (int64_t token = written.begin; token < written.end; ++token) {
      passed[static_cast<size_t>(token - 1)] = std::exchange(shares[static_cast<size_t>(token)], 0.0);
    }
    const Vector reached = relevance_of(maps, target.side(), passed, options);
    const double total = sum(reached, {0, length});
    if (total > 0) add(shares, reached, amount / total);
    if (options.progress) options.progress(1 - sum(shares, written) / total_share);
  }
  return by_id(target, target.side(), shares);
}

}  // namespace

const Method& information_flow_method() {
  static const Method method = {
      .order = 75,
      .name = "information-flow",
      .what = "relevance, in which shares of the answer's own tokens are passed on to the tokens before them",
      .needs_gradients = true,
      .of_ids = information_flow,
  };
  return method;
}

}  // namespace clearhead::explain
