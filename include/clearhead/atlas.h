// Room: observe.
// What kind of head is each head, on this text: ten scores from one reduction.
//
// Scores are means over the text's rows. Those that need a candidate (a previous token, an earlier occurrence) average over rows that can see one; a
// score is NaN when no row can. Definitions and sources: head_score_definitions(), printed by `clearhead atlas --definitions`.
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
  kFirst,      ///< weight on the first token: the usual attention sink
  kDelimiter,  ///< weight on punctuation and special tokens
  kSelf,       ///< weight on the token itself
  kRetrieval,  ///< weight on tokens equal to the one that comes next: what a copying head looks at
  kLocal,      ///< weight within four tokens on either side
  kBroad,      ///< entropy over its largest possible value: 1 is uniform
  kDistance,   ///< mean distance in tokens (no share: not between 0 and 1)
};
inline constexpr size_t kHeadScores = 10;

struct HeadScoreDefinition {
  const char* id;          ///< "previous", as JSON and the viewer name it
  const char* definition;  ///< one sentence, with its formula
  const char* source;      ///< paper and place
};
const std::array<HeadScoreDefinition, kHeadScores>& head_score_definitions();

struct HeadScores {
  int layer = 0;
  int64_t head = 0;
  std::array<float, kHeadScores> scores{};
  std::string kind{};  ///< id of the most telling score, or "mixed"
  float strength = 0;  ///< that score

  float operator[](HeadScore score) const { return scores[static_cast<size_t>(score)]; }
};

/// A head is called by its largest of the first seven scores if that is at least this; else local or broad if they are at least their own; else mixed.
inline constexpr float kTellingScore = 0.4f;
inline constexpr float kTellingLocal = 0.6f;
inline constexpr float kTellingBroad = 0.75f;

/// One score of a head: HeadScore's definition, and how much it is.
struct NamedScore {
  HeadScore score{};
  const char* id = "";  ///< head_score_definitions()'s
  float value = 0;      ///< 0 to 1
};

/// A head's strongest scores, at most `count`, strongest first: by score over the telling score of its own that names a head, so that near tokens and
/// even rows, which most heads have some of, do not come before what is rare. Distance is no share and never among them, nor is a NaN.
std::vector<NamedScore> strongest(const HeadScores& head, size_t count);
inline constexpr size_t kNamedScores = 2;  ///< how many are said of a head, in tables and on thumbnails

/// The reduction the atlas needs: all statistics, its matches, and 64 × 64 thumbnails.
ReductionRequest atlas_request(const RunText& text);

/// The text as far as its first tokens: what a map knows of a text that grew since (generated tokens).
RunText first_tokens(RunText text, int64_t count);

/// Scores of every head of one layer from the result of atlas_request's reduction.
std::vector<HeadScores> head_scores(const ReductionResult& found, const RunText& text, const MapFamily& family, int layer);

/// All kept layers of a family. Reduces those whose statistics were not computed in the run.
std::vector<HeadScores> head_atlas(const Trace& trace, const std::string& family, const LookOptions& options = {});

/// Delimiters of a text: special tokens, and tokens of punctuation, blanks beside it allowed. [token] 0 or 1.
std::vector<uint8_t> delimiters_of(const RunText& text);

}  // namespace clearhead
