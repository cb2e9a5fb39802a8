// Map → pixels: quantised codes for tiles on their way to a page, RGB pictures for PNG and terminal, and the attention-sink rule.
//
//   cells (f32)  →  sink rule  →  scale (linear | √ | log)  →  level 0 … 255  →  cividis
//
// In cells NaN means that the description hides every pair, −1 that no pair was ever scored (outside the windows of a windowed run).
// Codes: 0 hidden · 1 never scored · 2 zero or below `low` · 3 … 255 the scale (docs/viewer-api.md, "Codes").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "clearhead/look.h"
#include "clearhead/record.h"
#include "clearhead/tensor.h"

namespace clearhead {

enum class Scale : uint8_t { kLinear, kSqrt, kLog };

struct Rgb {
  uint8_t red = 0, green = 0, blue = 0;
};

/// The cividis ramp: dark blue to yellow, even in lightness, the same for most kinds of colour vision (Nuñez, Anderton & Renslow 2018).
Rgb cividis(uint8_t level);

/// Where a value stands between 0 and `high`: v/high, √(v/high), or 1 + log₁₀(v/high)/6, within [0, 1]. 0 when high is not positive.
float level_of(float value, float high, Scale scale);

struct Codes {
  Scale kind = Scale::kLog;
  float low = 0, high = 0;
  float error = 0;  ///< largest |decode(code) − value|
  std::vector<uint8_t> values{};
};

/// One byte a cell. `high` is the largest value; for kLog `low` is the smallest positive one, but not below high·1e-6.
Codes quantise(std::span<const float> cells, Scale kind);
/// The value a code stands for; NaN for 0, −1 for 1.
float decode(const Codes& codes, uint8_t code);

struct PictureOptions {
  Scale scale = Scale::kSqrt;
  float high = 0;                         ///< the value shown brightest; 0: the largest cell
  int64_t cell_pixels = 1;                ///< side of a cell
  std::vector<int64_t> marked_columns{};  ///< ticked above the picture: where attention sinks are
  Rgb hidden{232, 232, 236};              ///< cells without a visible pair; never-scored ones are hatched with it
  Rgb mark{214, 69, 65};
};

struct Picture {
  int64_t width = 0, height = 0;  ///< pixels
  std::vector<uint8_t> rgb{};     ///< [height, width, 3]
};

/// cells: f32 [rows, columns], any strides. Throws kInvalidArgument for anything else or pixels < 1.
Picture paint(const Tensor& cells, const PictureOptions& options = {});

// --- the attention-sink rule -----------------------------------------------------------------------------------------------------------

/// kMark: nothing changes, sinks are pointed at. kHide: weights at sinks are left out. kRenormalise: left out, and what remains is scaled up so that the row keeps its sum.
enum class SinkRule : uint8_t { kMark, kHide, kRenormalise };

/// Keys that collect mass without being about them. A key j is one when, for at least `heads` of all heads (and at least one),
///
///   received_hj / (rows that see j)  >  share
///
/// and it is the first key, a delimiter, or seen by at least `rows` rows: the last tokens of a causal text are seen by so few that
/// any weight would qualify. Share 0.3 is the threshold of Gu et al. 2025 ("When Attention Sink Emerges", §3.2), whose per-head metric this is;
/// first tokens: Xiao et al. 2024 (StreamingLLM); delimiters: Clark et al. 2019, §3.2.
struct SinkThresholds {
  double share = 0.3;
  double heads = 0.1;
  int64_t rows = 32;
};

/// How many queries may see each key by the description's topology (a bias of −∞ is not counted), in the head where most do. [key], of one sequence.
/// Time O(queries + keys) for bands and segments, O(queries·keys) where masks, lists or rules decide.
std::vector<int64_t> rows_that_see(const AttentionRecord& record, int64_t batch);

/// layers: one tensor [batch, head, key] per layer (ReductionResult::received). seen_by: [key]. delimiters: [key], may be empty: nonzero where the
/// key's token is special or punctuation. Returns sink keys, ascending.
std::vector<int64_t> find_sinks(std::span<const Tensor> layers, int64_t batch, std::span<const int64_t> seen_by,
                                std::span<const uint8_t> delimiters, const SinkThresholds& thresholds = {});

/// Applies the rule to one row of weights over all keys; returns the row's mass at the sinks before it. Left-out weights become 0.
double apply_sink_rule(std::span<float> row, std::span<const int64_t> sinks, SinkRule rule);

/// The factors of a tile (TileRequest::key_factors) that leave the sinks out: 1, or NaN at sinks. Empty for kMark or without sinks in the range.
std::vector<float> sink_key_factors(Range keys, std::span<const int64_t> sinks, SinkRule rule);

}  // namespace clearhead
