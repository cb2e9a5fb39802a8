// From a map to pixels: quantised codes for tiles sent to a page, RGB pictures for PNG and terminal, and the
// attention-sink rule.
//
//   cells (f32)  →  sink rule  →  scale (linear | √ | log)  →  level 0 … 255  →  cividis
//
// In cells NaN means that the description hides all pairs, −1 that no pair was scored (outside the windows of a
// windowed run). Codes: 0 hidden · 1 never scored · 2 zero or below `low` · 3 … 255 the scale
// (docs/viewer-api.md, "Codes").
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

/// The cividis colour map: dark blue to yellow, perceptually uniform in lightness, similar for most kinds of colour
/// vision (Nuñez, Anderton & Renslow 2018).
Rgb cividis(uint8_t level);

/// The level of a value between 0 and `high`: v/high, √(v/high), or 1 + log₁₀(v/high)/6, clamped to [0, 1]. 0 if
/// high is not positive.
float level_of(float value, float high, Scale scale);

struct Codes {
  Scale kind = Scale::kLog;
  float low = 0, high = 0;
  float error = 0;  ///< largest |decode(code) − value|
  std::vector<uint8_t> values{};
};

/// One byte per cell. `high` is the largest value; for kLog `low` is the smallest positive one, but at least high·1e-6.
Codes quantise(std::span<const float> cells, Scale kind);
/// The value of a code; NaN for 0, −1 for 1.
float decode(const Codes& codes, uint8_t code);

struct PictureOptions {
  Scale scale = Scale::kSqrt;
  float high = 0;                         ///< value of the brightest colour; 0: the largest cell
  int64_t cell_pixels = 1;                ///< side of a cell in pixels
  std::vector<int64_t> marked_columns{};  ///< columns with a tick above the picture: attention sinks
  /// Colour of cells without a visible pair; never-scored cells are hatched with it.
  Rgb hidden{232, 232, 236};
  Rgb mark{214, 69, 65};
};

struct Picture {
  int64_t width = 0, height = 0;  ///< in pixels
  std::vector<uint8_t> rgb{};     ///< [height, width, 3]
};

/// cells: f32 [rows, columns], any strides. Throws kInvalidArgument for another dtype or rank, or if cell_pixels < 1.
Picture paint(const Tensor& cells, const PictureOptions& options = {});

// --- the attention-sink rule ---

/// kMark: mark the sinks, change no weight. kHide: leave out the weights at sinks. kRenormalise: leave them out and scale
/// up the remaining weights to the row's previous sum.
enum class SinkRule : uint8_t { kMark, kHide, kRenormalise };

/// Attention sinks: keys that collect weight whatever their content. Key j is a sink if, for at least a share of
/// `heads` of all heads (and at least one head),
///
///   received_hj / (rows that see j)  >  share
///
/// and it is the first key, a delimiter, or seen by at least `rows` rows. Without the last condition, any weight at all
/// would turn the last tokens of a causal text, which few rows see, into sinks. Per-head metric and share 0.3: Gu
/// et al. 2025 ("When Attention Sink Emerges", §3.2); first tokens: Xiao et al. 2024 (StreamingLLM); delimiters:
/// Clark et al. 2019, §3.2.
struct SinkThresholds {
  double share = 0.3;
  double heads = 0.1;
  int64_t rows = 32;
};

/// For each key of one sequence, the number of queries that the topology lets see it (a bias of −∞ is not considered), in
/// the head where this number is largest. Returns [key].
/// Time: O(queries + keys) for bands and segments, O(queries·keys) with masks, lists or rules.
std::vector<int64_t> rows_that_see(const AttentionRecord& record, int64_t batch);

/// Returns the sink keys, ascending. layers: one tensor [batch, head, key] per layer (ReductionResult::received).
/// seen_by: [key]. delimiters: [key], nonzero for special and punctuation tokens, or empty.
std::vector<int64_t> find_sinks(std::span<const Tensor> layers, int64_t batch, std::span<const int64_t> seen_by,
                                std::span<const uint8_t> delimiters, const SinkThresholds& thresholds = {});

/// Applies the rule to one row of weights over all keys. Weights that are left out become 0. Returns the row's weight
/// at the sinks before the rule.
double apply_sink_rule(std::span<float> row, std::span<const int64_t> sinks, SinkRule rule);

/// TileRequest::key_factors that leave out the sinks: 1, or NaN at sinks. Empty for kMark or if the range has no sinks.
std::vector<float> sink_key_factors(Range keys, std::span<const int64_t> sinks, SinkRule rule);

}  // namespace clearhead
