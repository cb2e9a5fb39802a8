// The tables for AVX2 and AVX-512, what they refuse (2^31 keys, queries or table entries), and CLEARHEAD_BF16's choice of amx, dot or widen.
// A prompt in bf16 over a paged cache reads the keys it may see as rows first.
#include "backends/cpu/cpu.h"

#include "backends/cpu/dense.h"
#include "backends/cpu/matrix.h"
#include "backends/cpu/score_view.h"
#include "backends/cpu/targets.h"
#include "backends/sweep_rows.h"
#include "backends/widen.h"
// After targets.h, which says what Highway compiles.
#include <hwy/highway.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "base/format.h"
#include "base/parallel.h"
#include "spec/page_rows.h"
#include "spec/visible.h"

namespace clearhead {
namespace cpu {
namespace {

ItemObserver* item_observer = nullptr;

std::optional<std::string> refusal(const AttentionSpec& spec, const AttentionShape& shape) {
  const auto is_large = [](const Tensor& table) { return table.numel() >= INT32_MAX; };
  const auto has_large = [&](const Rule* rule) { return rule && std::any_of(rule->tables.begin(), rule->tables.end(), is_large); };
  bool large = has_large(spec.topology.visible ? &*spec.topology.visible : nullptr);
  for (const Term& term : spec.terms) large = large || has_large(std::get_if<Rule>(&term));
  if (large) return "a rule's table of 2^31 entries or more";
  if (shape.keys >= INT32_MAX || shape.queries >= INT32_MAX) return "lengths of 2^31 or more";
  return std::nullopt;
}

// Whether a description means the same over fewer keys, when those that are left out stand before all that its band shows.
bool counts_from_the_end(const AttentionSpec& spec) {
  const Topology& topology = spec.topology;
  const auto counts = [](const Term& term) { return std::holds_alternative<Alibi>(term) || std::holds_alternative<SoftCap>(term); };
  return topology.band.align == Align::kEnd && !topology.segments && !topology.mask && !topology.lists && !topology.visible &&
         std::all_of(spec.terms.begin(), spec.terms.end(), counts) && !spec.after.dropout && !spec.after.gaussian;
}

// Many queries in bf16 over pages of it, a prompt or a piece of one: the keys that they may see as rows, which kernels of bf16 multiply as they are.
bool forward_over_rows(const ForwardCall& call) {
  const auto* paged = std::get_if<PagedKV>(&call.keys);
  const int64_t queries = call.q.size(2);
  if (!paged || paged->dtype != DType::kBF16 || queries <= kDecodeQueries || queries > paged->length) return false;
  Range seen{0, paged->length};
  if (counts_from_the_end(call.spec))
    seen.begin =
        visible_band(call.spec.topology.band, first_position(call.spec.topology.band, queries, paged->length), paged->length).begin /
        kKeyTile * kKeyTile;
  if (!takes_pairs(call.spec, call.q, key_rows(*paged, {0, 0}))) return false;
  const Keys keys = key_rows(*paged, seen);
  const auto& [spec, q, _keys, _v, out, rows, entropies, distances] = call;
  N_AVX3::forward({spec, q, keys, value_rows(*paged, seen), out, rows, entropies, distances});
  return true;
}

void forward_avx512(const ForwardCall& call) {
  if (forward_over_rows(call)) return;
  if (!decodes_by_pairs(call.spec, call.q, call.keys)) return forward_widened<N_AVX3::forward, takes_pairs>(call);
  const auto& [spec, q, keys, v, out, rows, _entropy, _distance] = call;
  N_AVX3::forward({spec, q, keys, v, out, rows});
  sweep_rows(call, sweep_widened<N_AVX3::sweep, takes_pairs>);
}

const Backend kAvx2Table{.name = "cpu",
                         .isa = InstructionSet::kAvx2,
                         .refusal = refusal,
                         .forward = forward_widened<N_AVX2::forward>,
                         .backward = backward_widened<N_AVX2::backward>,
                         .weights = weights_widened<N_AVX2::weights>,
                         .sweep = sweep_widened<N_AVX2::sweep>,
                         .dense = dense_ops(InstructionSet::kAvx2),
                         .gradients = dense_gradients(InstructionSet::kAvx2)};
const Backend kAvx512Table{.name = "cpu",
                           .isa = InstructionSet::kAvx512,
                           .refusal = refusal,
                           .forward = forward_avx512,
                           .backward = backward_widened<N_AVX3::backward, takes_pairs_backward>,
                           .weights = weights_widened<N_AVX3::weights, takes_pairs>,
                           .sweep = sweep_widened<N_AVX3::sweep, takes_pairs>,
                           .dense = dense_ops(InstructionSet::kAvx512),
                           .gradients = dense_gradients(InstructionSet::kAvx512)};

}  // namespace

Bf16Way bf16_way() {
  static const Bf16Way way = [] {
    const bool dot = __builtin_cpu_supports("avx512bf16") != 0, amx = dot && has_bf16_matrices();
    const char* asked = std::getenv("CLEARHEAD_BF16");
    std::string_view wanted = asked ? asked : "";
    for (const auto& [earlier, now] : {std::pair{"matrices", "amx"}, std::pair{"pairs", "dot"}, std::pair{"wide", "widen"}}) {
      if (wanted == earlier) wanted = now;  // earlier versions' names
    }
    if (wanted.empty()) return amx ? Bf16Way::kAmx : dot && !__builtin_cpu_is("intel") ? Bf16Way::kDot : Bf16Way::kWiden;
    if (wanted == "widen") return Bf16Way::kWiden;
    if (wanted != "dot" && wanted != "amx") fail(ErrorCode::kUnsupported, "CLEARHEAD_BF16 is \"{}\"; expected amx, dot or widen", wanted);
    if (!(wanted == "dot" ? dot : amx))
      fail(ErrorCode::kUnsupported, "CLEARHEAD_BF16={}: this machine has no {}; leave it unset", wanted,
           wanted == "dot" ? "VDPBF16PS" : "TDPBF16PS");
    return wanted == "dot" ? Bf16Way::kDot : Bf16Way::kAmx;
  }();
  return way;
}

void observe_items(ItemObserver* observer) { item_observer = observer; }

void observe_item(int64_t item, int thread, const std::function<void()>& body) {
  ItemObserver* observer = item_observer;
  if (observer) observer->before(item, thread);
  body();
  if (observer) observer->after(item, thread);
}

void for_items(int64_t items, const std::function<void(int64_t item, int thread)>& body) {
  ItemObserver* observer = item_observer;
  parallel_for(items, [&](int64_t item, int thread) {
    if (observer) observer->before(item, thread);
    {
      const MatricesOfAnItem matrices;
      body(item, thread);
    }
    if (observer) observer->after(item, thread);
  });
}

}  // namespace cpu

const Backend* cpu_backend(InstructionSet isa) {
  const auto runs = [](int64_t target) { return (hwy::SupportedTargets() & target) != 0; };
  if (isa == InstructionSet::kAvx512 && runs(HWY_AVX3)) return &cpu::kAvx512Table;
  if (isa == InstructionSet::kAvx2 && runs(HWY_AVX2)) return &cpu::kAvx2Table;
  return nullptr;
}

}  // namespace clearhead
