// Rules inside kernels. With queries in lanes, programs run once per key tile or once per group of keys; with keys in
// lanes (decode), over runs of keys. Included once per target.
//
//   scratch of a rule in TileScratch::rules, each array [slot][…]:
//   lane kLaneFloats · key kKeyFloats · offset kOffsetFloats · expanded keys · group offsets · pair
//
// The key line has one number per key, beginning at the tile's first key. The offset line has one number per offset,
// beginning at offset position[0] − (tile + kKeyTile − 1). Consecutive queries are adjacent in it, so the vector of key j
// begins at index tile + kKeyTile − 1 − j. Blocks whose queries are not consecutive compute the offset of each (query, key)
// pair instead.
#if defined(CLEARHEAD_CPU_SCORE_RULE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef CLEARHEAD_CPU_SCORE_RULE_INL_H_
#undef CLEARHEAD_CPU_SCORE_RULE_INL_H_
#else
#define CLEARHEAD_CPU_SCORE_RULE_INL_H_
#endif

#include "backends/cpu/score/pack-inl.h"
#include "backends/cpu/score/rule_run.h"
#include "backends/cpu/simd/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace clearhead::cpu::HWY_NAMESPACE {

// Scores of kRows keys and V vectors of queries. Must be indexed by constants only, so that it stays in registers.
template <int V>
struct Scores {
  Floats c[kRows * V];  // [key][vector]
};

struct RuleRoom {
  float *lane, *key, *offset, *expanded, *group_offset, *pair;
  RuleRoom(const RuleUse& use, const TileScratch& scratch) {
    const RuleProgram& program = *use.program;
    lane = scratch.rules + use.scratch;
    key = lane + program.lane.slots * RuleProgram::kLaneFloats;
    offset = key + program.key.slots * RuleProgram::kKeyFloats;
    expanded = offset + program.offset.slots * RuleProgram::kOffsetFloats;
    group_offset = expanded + program.key.slots * RuleProgram::kExpandedFloats;
    pair = group_offset + program.offset.slots * RuleProgram::kGroupFloats;
  }
};

// Writes first, first + step, first + 2·step, …, rounding `count` up to whole vectors.
HWY_INLINE void fill_line(float* to, int64_t count, float first, float step) {
  const F32 d;
  Floats x = hn::MulAdd(hn::Iota(d, 0.0F), hn::Set(d, step), hn::Set(d, first));
  const Floats more = hn::Set(d, step * static_cast<float>(kLanes));
  for (int64_t i = 0; i < count; i += kLanes) {
    hn::StoreU(x, d, to + i);
    x = x + more;
  }
}

// Runs a program over a line of `count` elements. The caller has filled slot 0.
inline void run_line(const RuleUse& use, const RuleCode& code, float* line, int64_t slot_step, int64_t count) {
  if (code.steps.empty()) return;
  RuleFrame frame;
  frame.rows = (count + kLanes - 1) / kLanes;
  frame.own = line;
  frame.own_step = slot_step;
  frame.banks[static_cast<size_t>(RuleBank::kScalar)] = {use.scalars, RuleProgram::kScalarFloats, 0, 0};
  run_rule(*use.program, code, frame);
}

/// Runs the lane, key and offset programs for keys [begin, end) of one key tile.
inline HWY_NOINLINE void prepare_rule(const RuleUse& use, const QueryBlock& block, const TileScratch& scratch, int64_t begin, int64_t end) {
  const RuleRoom room(use, scratch);
  const RuleProgram& program = *use.program;
  const int64_t tile = begin / kKeyTile * kKeyTile, lanes = block.vectors * kLanes;
  if (program.uses_lane) {
    std::copy(block.position, block.position + lanes, room.lane);
    run_line(use, program.lane, room.lane, RuleProgram::kLaneFloats, lanes);
  }
  if (!program.key_slots.empty()) {
    fill_line(room.key + (begin - tile), end - begin, static_cast<float>(begin), 1);
    run_line(use, program.key, room.key + (begin - tile), RuleProgram::kKeyFloats, end - begin);
  }
  if (program.uses_offset && block.consecutive) {
    const int64_t first = tile + kKeyTile - end, count = end - begin + lanes - 1;
    fill_line(room.offset + first, count, block.position[0] - static_cast<float>(end - 1), 1);
    run_line(use, program.offset, room.offset + first, RuleProgram::kOffsetFloats, count);
  }
}

// The part of the offset line that a group reads: for each next key it begins one element earlier.
HWY_INLINE RuleBankView offset_bank(const RuleRoom& room, int64_t key, int first_vector) {
  return {room.offset + (kKeyTile - 1 - key % kKeyTile) + first_vector * kLanes, RuleProgram::kOffsetFloats, -1, kLanes};
}

// Runs the offset program for every pair of a group whose queries are not consecutive.
inline HWY_NOINLINE RuleBankView group_offsets(const RuleUse& use, const QueryBlock& block, const RuleRoom& room, int64_t key,
                                               int first_vector, int vectors) {
  const F32 d;
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      const Floats position = hn::Load(d, block.position + (first_vector + v) * kLanes);
      hn::StoreU(position - hn::Set(d, static_cast<float>(key + r)), d, room.group_offset + (r * vectors + v) * kLanes);
    }
  }
  run_line(use, use.program->offset, room.group_offset, RuleProgram::kGroupFloats, kRows * vectors * kLanes);
  return {room.group_offset, RuleProgram::kGroupFloats, vectors * kLanes, kLanes};
}

// The result of a program that has run.
HWY_INLINE RuleBankView result_of(const RuleProgram& program, const RuleFrame& frame) {
  RuleBankView result = frame.banks[static_cast<size_t>(program.result.bank)];
  result.base += program.result.slot * result.slot_step;
  return result;
}

// Runs the pair program for a group and returns its result. The caller has filled slot 0.
inline HWY_NOINLINE RuleBankView run_pairs(const RuleUse& use, const QueryBlock& block, const TileScratch& scratch, int64_t key,
                                           int first_vector, int vectors) {
  const F32 d;
  const RuleProgram& program = *use.program;
  const RuleRoom room(use, scratch);
  RuleFrame frame;
  frame.rows = kRows;
  frame.vectors = vectors;
  frame.own = room.pair;
  frame.own_step = RuleProgram::kGroupFloats;
  const auto bank = [&](RuleBank which) -> RuleBankView& { return frame.banks[static_cast<size_t>(which)]; };
  bank(RuleBank::kScalar) = {use.scalars, RuleProgram::kScalarFloats, 0, 0};
  bank(RuleBank::kLane) = {room.lane + first_vector * kLanes, RuleProgram::kLaneFloats, 0, kLanes};
  for (const int32_t slot : program.key_slots) {
    const float* line = room.key + slot * RuleProgram::kKeyFloats + key % kKeyTile;
    for (int r = 0; r < kRows; ++r) hn::StoreU(hn::Set(d, line[r]), d, room.expanded + slot * RuleProgram::kExpandedFloats + r * kLanes);
  }
  bank(RuleBank::kKey) = {room.expanded, RuleProgram::kExpandedFloats, kLanes, 0};
  if (program.uses_offset) {
    bank(RuleBank::kOffset) =
        block.consecutive ? offset_bank(room, key, first_vector) : group_offsets(use, block, room, key, first_vector, vectors);
  }
  run_rule(program, program.pair, frame);
  return result_of(program, frame);
}

// Keeps hidden scores hidden if a term before the rule may have hidden pairs (`guards`).
HWY_INLINE Floats kept_hidden(bool guards, Floats before, Floats after) {
  return guards ? hn::IfThenElse(hn::Lt(before, hn::Set(F32(), kVisible)), before, after) : after;
}

// The score after the rule: s + f, s − f, or f alone.
HWY_INLINE Floats term_rule(const RuleProgram& program, bool guards, Floats s, Floats f) {
  return kept_hidden(guards, s, program.adds ? s + f : program.subtracts ? s - f : f);
}

// The range of positions of the block's queries.
inline Range positions_of(const QueryBlock& block) {
  const auto [low, high] = std::minmax_element(block.position, block.position + block.vectors * kLanes);
  return {static_cast<int64_t>(*low), static_cast<int64_t>(*high) + 1};
}

// Evaluates a visibility rule that depends on offsets alone at every offset of the call.
inline OffsetBits ask_offsets(const ScoreView& view) {
  constexpr int64_t kPiece = 512;  // a multiple of 64
  const RuleUse& use = *view.visible;
  const int64_t first = view.position_of(view.query_of(0)), end = first + view.rows;
  const Range offsets{first - (view.key_length - 1), end};
  std::vector<float> line(static_cast<size_t>(use.program->offset.slots * kPiece));
  std::vector<uint64_t> shows(static_cast<size_t>(offsets.size() + 63) / 64, 0);
  const float* result = line.data() + use.program->result.slot * kPiece;
  for (int64_t begin = 0; begin < offsets.size(); begin += kPiece) {
    const int64_t count = std::min(kPiece, offsets.size() - begin);
    fill_line(line.data(), count, static_cast<float>(offsets.begin + begin), 1);
    run_line(use, use.program->offset, line.data(), kPiece, count);
    for (int64_t i = 0; i < count; ++i) shows[static_cast<size_t>(begin + i) / 64] |= uint64_t{result[i] != 0} << (begin + i) % 64;
  }
  return OffsetBits(offsets, std::move(shows));
}
/// Evaluates a visibility rule that depends on offsets alone, once per call. Call this before the loop over blocks.
inline void read_offsets(ScoreProblem& problem) {
  if (problem.hides_by_offset()) problem.set_visible_offsets(ask_offsets);
}

// keep_ruled, evaluated for each (query, key) pair.
inline void keep_ruled_pairs(const TileContext& in, int64_t begin, int64_t end, uint64_t* visible) {
  const F32 d;
  for (int64_t key = begin; key < end; key += kRows) {
    const RuleBankView f = run_pairs(*in.view.visible, in.block, in.scratch, key, 0, in.block.vectors);
    for (int64_t r = 0; r < std::min<int64_t>(kRows, end - key); ++r) {
      uint64_t bits = 0;
      for (int v = 0; v < in.block.vectors; ++v) {
        uint8_t bytes[8] = {};
        hn::StoreMaskBits(d, hn::Not(hn::Eq(hn::LoadU(d, f.base + r * f.row_step + v * f.vector_step), hn::Zero(d))), bytes);
        bits |= (uint64_t{bytes[0]} | (kLanes == 16 ? uint64_t{bytes[1]} << 8 : 0)) << (v * kLanes);
      }
      visible[key - begin + r] &= bits;
    }
  }
}

/// Clears the bits of visible[key − begin] that the visibility rule hides, for keys [begin, end) of one key tile. begin is
/// a multiple of kRows. Where the rule's bounds show all or none of a piece of the tile, the rule is not evaluated.
inline HWY_NOINLINE void keep_ruled(const TileContext& in, int64_t begin, int64_t end, uint64_t* visible) {
  if (in.view.visible_offsets && in.block.consecutive) {
    const int64_t first = static_cast<int64_t>(in.block.position[0]);
    for (int64_t key = begin; key < end; ++key) visible[key - begin] &= in.view.visible_offsets->from(first - key);
    return;
  }
  constexpr int64_t kPiece = 32;  // keys
  const Range positions = positions_of(in.block);
  prepare_rule(*in.view.visible, in.block, in.scratch, begin, round_up(end, kRows));
  for (int64_t key = begin; key < end; key += kPiece) {
    const int64_t last = std::min(end, key + kPiece);
    const Shown shown = in.view.shown(positions, {key, last});
    if (shown == Shown::kNone) std::fill(visible + (key - begin), visible + (last - begin), uint64_t{0});
    if (shown == Shown::kMixed) keep_ruled_pairs(in, key, last, visible + (key - begin));
  }
}

template <int V>
HWY_NOINLINE void general_rule(const RuleUse& use, const QueryBlock& block, const TileScratch& scratch, int64_t key, int first_vector,
                               Scores<V>& s) {
  const F32 d;
  const RuleRoom room(use, scratch);
  for (int i = 0; i < kRows * V; ++i) hn::StoreU(s.c[i], d, room.pair + i * kLanes);
  const RuleBankView f = run_pairs(use, block, scratch, key, first_vector, V);
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < V; ++v) {
      s.c[r * V + v] = term_rule(*use.program, use.guards, s.c[r * V + v], hn::LoadU(d, f.base + r * f.row_step + v * f.vector_step));
    }
  }
}

/// Applies a rule to the group of kRows keys from `key`. A rule that only adds its offset line to the score costs one
/// load and one addition per vector.
template <int V>
HWY_INLINE void apply_rule(const RuleUse& use, const QueryBlock& block, const TileScratch& scratch, int64_t key, int first_vector,
                           Scores<V>& s) {
  const F32 d;
  const RuleProgram& program = *use.program;
  if (!use.guards && block.consecutive && program.result.bank == RuleBank::kOffset) {
    const RuleRoom room(use, scratch);
    const RuleBankView f = offset_bank(room, key, first_vector);
    const float* line = f.base + program.result.slot * f.slot_step;
    if (program.adds) {
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { s.c[r * V + v] = s.c[r * V + v] + hn::LoadU(d, line - r + v * kLanes); });
      });
    } else {
      unroll<kRows>([&](auto r) CLEARHEAD_INLINE_LAMBDA {
        unroll<V>([&](auto v) CLEARHEAD_INLINE_LAMBDA { s.c[r * V + v] = s.c[r * V + v] - hn::LoadU(d, line - r + v * kLanes); });
      });
    }
    return;
  }
  general_rule<V>(use, block, scratch, key, first_vector, s);
}

// --- keys in lanes --------------------------------------------------------------------------------------------------

/// Scratch, in floats, that apply_rule_along_keys needs for `count` keys: the maximum over the call's rules.
inline int64_t rule_line_floats(const ScoreView& view, int64_t count) {
  int64_t most = 0;
  for (size_t t = 0; view.terms && t < view.terms->size(); ++t) {
    const ScoreTerm& term = (*view.terms)[t];
    if (term.kind == ScoreTerm::Kind::kRule) most = std::max(most, term.rule.program->line_floats(count));
  }
  if (view.visible) most = std::max(most, view.visible->program->line_floats(count));
  return most;
}
/// The address in `room` at which the caller writes the key indices, as floats.
HWY_INLINE float* rule_keys(const RuleUse& use, float* room) { return room + use.program->lane.slots * RuleProgram::kScalarFloats; }

// Runs a rule for one query at `position` over `count` keys (whole vectors), whose indices are at rule_keys(use, room).
// s: their scores; null for a visibility rule.
inline HWY_NOINLINE RuleBankView run_along_keys(const RuleUse& use, float position, int64_t count, const float* s, float* room) {
  const F32 d;
  const RuleProgram& program = *use.program;
  float *lane = room, *key = rule_keys(use, room), *offset = key + program.key.slots * count, *pair = offset + program.offset.slots * count;
  if (program.uses_lane) {
    std::fill_n(lane, kLanes, position);
    run_line(use, program.lane, lane, RuleProgram::kScalarFloats, kLanes);
  }
  if (program.uses_offset) {
    for (int64_t i = 0; i < count; i += kLanes) hn::StoreU(hn::Set(d, position) - hn::LoadU(d, key + i), d, offset + i);
    run_line(use, program.offset, offset, count, count);
  }
  run_line(use, program.key, key, count, count);
  if (s) std::copy(s, s + count, pair);
  RuleFrame frame;
  frame.rows = count / kLanes;
  frame.own = pair;
  frame.own_step = count;
  const auto bank = [&](RuleBank which) -> RuleBankView& { return frame.banks[static_cast<size_t>(which)]; };
  bank(RuleBank::kScalar) = {use.scalars, RuleProgram::kScalarFloats, 0, 0};
  bank(RuleBank::kLane) = {lane, RuleProgram::kScalarFloats, 0, 0};
  bank(RuleBank::kKey) = {key, count, kLanes, 0};
  bank(RuleBank::kOffset) = {offset, count, kLanes, 0};
  run_rule(program, program.pair, frame);
  return result_of(program, frame);
}

/// Applies a rule in place to the scores s of one query at `position` and `count` keys (whole vectors), whose indices are
/// at rule_keys(use, room).
inline void apply_rule_along_keys(const RuleUse& use, float position, int64_t count, float* s, float* room) {
  const F32 d;
  const RuleBankView f = run_along_keys(use, position, count, s, room);
  for (int64_t i = 0; i < count / kLanes; ++i) {
    const Floats result = term_rule(*use.program, use.guards, hn::Load(d, s + i * kLanes), hn::LoadU(d, f.base + i * f.row_step));
    hn::Store(result, d, s + i * kLanes);
  }
}

/// The same for the visibility rule: scores of keys that it hides become kHidden.
inline void hide_along_keys(const RuleUse& use, float position, int64_t count, float* s, float* room) {
  const F32 d;
  const RuleBankView f = run_along_keys(use, position, count, nullptr, room);
  for (int64_t i = 0; i < count / kLanes; ++i) {
    const Lanes hides = hn::Eq(hn::LoadU(d, f.base + i * f.row_step), hn::Zero(d));
    hn::Store(hn::IfThenElse(hides, hn::Set(d, kHidden), hn::Load(d, s + i * kLanes)), d, s + i * kLanes);
  }
}

}  // namespace clearhead::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
