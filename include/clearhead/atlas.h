// Implemented in src/observe.
// The atlas of heads: ten scores for every head of a model on one text, all computed by one reduction of its map.
//
// A score is a mean over the rows of the text. A score that needs a candidate key (a previous token, an earlier
// occurrence of the token) is averaged over the rows that see such a key, and is NaN if no row does.
// Definitions and sources: head_score_definitions(), also printed by `clearhead atlas --definitions`.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "clearhead/look.h"
#include "clearhead/observer.h"
#include "clearhead/trace.h"

namespace clearhead {

enum class HeadScore : size_t {
  kPrevious,   ///< weight on the token just before
  kInduction,  ///< weight on tokens that follow another occurrence of the query's token
  kDuplicate,  ///< weight on other occurrences of the query's token
  kFirst,      ///< weight on the first token, the usual attention sink
  kDelimiter,  ///< weight on punctuation and special tokens, except the query's own token
  kSelf,       ///< weight on the query's own token
  kRetrieval,  ///< weight on tokens equal to the text's next token, the tokens that a copying head attends to
  kLocal,      ///< weight on the query's own token and four tokens on either side
  kBroad,      ///< entropy divided by its largest possible value; 1 is uniform
  kDistance,   ///< mean distance in tokens; the only score that is not between 0 and 1
};
inline constexpr size_t kHeadScores = 10;

struct HeadScoreDefinition {
  const char* id;          ///< name in JSON and in the viewer, for example "previous"
  const char* definition;  ///< one sentence with the formula
  const char* source;      ///< paper and section
};
const std::array<HeadScoreDefinition, kHeadScores>& head_score_definitions();

struct HeadScores {
  int layer = 0;
  int64_t head = 0;
  std::array<float, kHeadScores> scores{};
  std::string kind{};  ///< id of the score after which the head is named (kTellingScore below), or "mixed"
  float strength = 0;  ///< value of that score; 0 for "mixed"

  float operator[](HeadScore score) const { return scores[static_cast<size_t>(score)]; }
};

/// A head is named after the largest of its first seven scores if that score reaches kTellingScore; of two scores within
/// 0.02 the earlier one wins. Otherwise the head is "local" or "broad" if that score reaches its own threshold, and
/// "mixed" if neither does.
inline constexpr float kTellingScore = 0.4f;
inline constexpr float kTellingLocal = 0.6f;
inline constexpr float kTellingBroad = 0.75f;

/// One score of a head.
struct NamedScore {
  HeadScore score{};
  const char* id = "";  ///< id as in head_score_definitions()
  float value = 0;      ///< clamped to 0 … 1
};

/// The strongest scores of a head, at most `count`, strongest first.
///
/// Scores are sorted by score / threshold (kTellingScore, or kTellingLocal and kTellingBroad). Most heads have some local
/// and some broad attention; the higher thresholds prevent these two from hiding rarer patterns. kDistance and NaN scores
/// are left out.
std::vector<NamedScore> strongest(const HeadScores& head, size_t count);
inline constexpr size_t kNamedScores = 2;  ///< scores shown per head in tables and on thumbnails

/// The reduction that the atlas needs: all statistics, the matches of `text`, and maps pooled to 64 × 64 as thumbnails.
ReductionRequest atlas_request(const RunText& text);

/// The first `count` tokens of the text. After tokens were generated, the map of the prefill covers only these.
RunText first_tokens(RunText text, int64_t count);

/// Scores of every head of one layer. `found` is the result of the reduction atlas_request(text) on that layer.
std::vector<HeadScores> head_scores(const ReductionResult& found, const RunText& text, const MapFamily& family, int layer);

/// Scores of every head in every layer of `family` that the trace keeps. Layers whose statistics were not computed during
/// the run are reduced now. Throws kNotFound for an unknown family.
std::vector<HeadScores> head_atlas(const Trace& trace, const std::string& family, const LookOptions& options = {});

/// Marks the delimiters of a text: special tokens, and tokens that are punctuation (surrounding whitespace is ignored).
/// Returns 0 or 1 for each token.
std::vector<uint8_t> delimiters_of(const RunText& text);

}  // namespace clearhead
