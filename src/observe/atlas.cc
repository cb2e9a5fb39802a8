// Scores of heads, computed from one reduction of the map.
//
//   previous    mean of P[i, p_i − 1] over the rows that have a previous key           from the offsets, at −1
//   matches     mean of Σ_{j candidate} P_ij over the rows that can see a candidate    from the Match sums
//   broad       mean of H_i / ln n over the rows that see n > 1 keys                   from the entropies
//
// p_i is the position of query i, H_i the entropy of row i and n the number of keys that it sees. A candidate of row i is a key j ≠ i
// with the query's tag (Match, look.h). Rows that cannot see a candidate are left out, so that they do not lower the head's score.
#include "clearhead/atlas.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "base/format.h"

namespace clearhead {
namespace {

constexpr int64_t kReach = 64;
constexpr int64_t kLocalReach = 4;
enum MatchIndex : size_t { kMatchDuplicate, kMatchInduction, kMatchDelimiter, kMatchRetrieval, kMatchCount };

// True for a token that consists of punctuation marks and whitespace and contains at least one mark. Whitespace alone does not count:
// otherwise every sixth token of a byte-level model would be punctuation.
bool is_punctuation(std::string_view bytes) {
  // Marks are ASCII punctuation and, each three bytes in UTF-8, general punctuation (U+2010 …), CJK punctuation (U+3001 …) and
  // full-width forms (U+FF01 …).
  bool any = false;
  for (size_t at = 0; at < bytes.size();) {
    const unsigned char c = static_cast<unsigned char>(bytes[at]);
    if (c < 0x80) {
      const bool mark = (c >= 0x21 && c <= 0x2F) || (c >= 0x3A && c <= 0x40) || (c >= 0x5B && c <= 0x60) || (c >= 0x7B && c <= 0x7E);
      if (!mark && !(c == ' ' || c == '\n' || c == '\t' || c == '\r')) return false;
      any = any || mark;
      at += 1;
      continue;
    }
    if (at + 3 > bytes.size() || (c & 0xF0) != 0xE0) return false;
    const unsigned code =
        (c & 0x0Fu) << 12 | (static_cast<unsigned char>(bytes[at + 1]) & 0x3Fu) << 6 | (static_cast<unsigned char>(bytes[at + 2]) & 0x3Fu);
    const bool mark = (code >= 0x2010 && code <= 0x205E) || (code >= 0x3001 && code <= 0x3030) || (code >= 0xFF01 && code <= 0xFF0F) ||
                      (code >= 0xFF1A && code <= 0xFF20) || (code >= 0xFF3B && code <= 0xFF40) || (code >= 0xFF5B && code <= 0xFF65);
    if (!mark) return false;
    any = true;
    at += 3;
  }
  return any;
}

// For each row i of `rows`: 1 if it can see a key j ≠ i with the query's tag, else 0.
std::vector<uint8_t> rows_with_candidates(const Match& match, const std::vector<int64_t>& rows, bool causal) {
  std::unordered_map<int32_t, int64_t> earliest, count;
  for (size_t j = 0; j < match.key_tags.size(); ++j) {
    const int32_t tag = match.key_tags[j];
    if (tag < 0) continue;
    earliest.emplace(tag, static_cast<int64_t>(j));
    ++count[tag];
  }
  std::vector<uint8_t> out;
  for (const int64_t i : rows) {
    const int32_t tag = match.query_tags[static_cast<size_t>(i)];
    const auto found = tag < 0 ? earliest.end() : earliest.find(tag);
    bool can = found != earliest.end();
    if (can && causal) can = found->second < i;
    if (can && !causal) can = count[tag] > (match.key_tags[static_cast<size_t>(i)] == tag ? 1 : 0);
    out.push_back(can);
  }
  return out;
}

struct Mean {
  double sum = 0;
  int64_t count = 0;
  void add(double value) {
    sum += value;
    ++count;
  }
  float value() const { return count > 0 ? static_cast<float>(sum / static_cast<double>(count)) : std::numeric_limits<float>::quiet_NaN(); }
};

void name_kind(HeadScores& head) {
  head.kind = "mixed";
  const auto& definitions = head_score_definitions();
  for (size_t s = 0; s < static_cast<size_t>(HeadScore::kLocal); ++s) {
    // If two scores are nearly equal, the earlier one wins, because it is more specific.
    if (head.scores[s] >= kTellingScore && head.scores[s] > head.strength + 0.02f) {
      head.kind = definitions[s].id;
      head.strength = head.scores[s];
    }
  }
  if (head.kind != "mixed") return;
  if (head[HeadScore::kLocal] >= kTellingLocal) {
    head.kind = "local";
    head.strength = head[HeadScore::kLocal];
  } else if (head[HeadScore::kBroad] >= kTellingBroad) {
    head.kind = "broad";
    head.strength = head[HeadScore::kBroad];
  }
}

float telling(HeadScore score) {
  return score == HeadScore::kLocal ? kTellingLocal : score == HeadScore::kBroad ? kTellingBroad : kTellingScore;
}

}  // namespace

const std::array<HeadScoreDefinition, kHeadScores>& head_score_definitions() {
  static constexpr std::array<HeadScoreDefinition, kHeadScores> kDefinitions{{
      {"previous", "Weight on the token just before: mean of P[i, i−1].",
       "Elhage et al. 2021, previous token heads; Voita et al. 2019, §4.1 positional heads"},
      {"induction",
       "Weight on tokens that follow another occurrence of the query's token: mean of Σ P[i, j] over j with token[j−1] = token[i].",
       "Olsson et al. 2022, prefix matching score"},
      {"duplicate", "Weight on other occurrences of the query's token: mean of Σ P[i, j] over j ≠ i with token[j] = token[i].",
       "Wang et al. 2023 (IOI), §3 duplicate token heads"},
      {"first", "Weight on the first token, the usual attention sink: mean of P[i, 0].",
       "Xiao et al. 2024 (StreamingLLM), §3; Gu et al. 2025, §3.2"},
      {"delimiter", "Weight on punctuation and special tokens, excluding the query's own token.", "Clark et al. 2019, §3.2"},
      {"self", "Weight on the token itself: mean of P[i, i].", "Clark et al. 2019, §3.1"},
      {"retrieval", "Weight on tokens equal to the one that comes next in the text: mean of Σ P[i, j] over j with token[j] = token[i+1].",
       "Wu et al. 2024, eq. 1, with the mass instead of the argmax"},
      {"local", "Weight within four tokens on either side, the token itself included.", "Clark et al. 2019, §3.1"},
      {"broad", "Entropy divided by its largest possible value, ln of the number of keys a row sees: 1 is uniform.",
       "Clark et al. 2019, §3.3"},
      {"distance", "Mean distance to the attended keys, in tokens: mean of Σ P[i, j]·|i−j|.", "Vig and Belinkov 2019, §4.2"},
  }};
  return kDefinitions;
}

std::vector<NamedScore> strongest(const HeadScores& head, size_t count) {
  std::vector<NamedScore> out;
  for (size_t s = 0; s < static_cast<size_t>(HeadScore::kDistance); ++s) {
    // Sums in f32 may exceed 1 by 1e-6.
    if (!std::isnan(head.scores[s])) {
      out.push_back({static_cast<HeadScore>(s), head_score_definitions()[s].id, std::clamp(head.scores[s], 0.0f, 1.0f)});
    }
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const NamedScore& a, const NamedScore& b) { return a.value / telling(a.score) > b.value / telling(b.score); });
  out.resize(std::min(out.size(), count));
  return out;
}

std::vector<uint8_t> delimiters_of(const RunText& text) {
  std::vector<uint8_t> out(text.ids.size(), 0);
  for (size_t i = 0; i < out.size(); ++i) {
    const auto [begin, end] = text.offsets[i];
    const std::string_view bytes = std::string_view(text.text).substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    out[i] = text.special[i] || is_punctuation(bytes);
  }
  return out;
}

RunText first_tokens(RunText text, int64_t count) {
  const size_t kept = std::min(text.ids.size(), static_cast<size_t>(count));
  text.ids.resize(kept);
  text.offsets.resize(kept);
  text.special.resize(kept);
  text.pieces.resize(kept);
  return text;
}

ReductionRequest atlas_request(const RunText& text) {
  ReductionRequest request({entropy, received, distance, offsets});
  request.offset_reach = kReach;
  request.cells = {64, 64};
  const size_t count = text.ids.size(), tokens = std::min(count, static_cast<size_t>(text.tokens()));
  request.matches.resize(kMatchCount);
  for (Match& match : request.matches) {
    match.query_tags.assign(count, -1);
    match.key_tags.assign(count, -1);
  }
  const std::vector<uint8_t> delimiters = delimiters_of(text);
  for (size_t i = 0; i < count; ++i) request.matches[kMatchDelimiter].query_tags[i] = 1;
  for (size_t i = 0; i < tokens; ++i) {  // items match nothing
    const int32_t id = text.special[i] ? -1 : text.ids[i];
    request.matches[kMatchDuplicate].query_tags[i] = request.matches[kMatchDuplicate].key_tags[i] = id;
    request.matches[kMatchInduction].query_tags[i] = id;
    request.matches[kMatchRetrieval].key_tags[i] = id;
    if (i > 0) request.matches[kMatchInduction].key_tags[i] = text.special[i - 1] ? -1 : text.ids[i - 1];
    if (i + 1 < tokens) request.matches[kMatchRetrieval].query_tags[i] = text.special[i + 1] ? -1 : text.ids[i + 1];
    request.matches[kMatchDelimiter].key_tags[i] = delimiters[i] ? 1 : -1;
  }
  return request;
}

std::vector<HeadScores> head_scores(const ReductionResult& found, const RunText& text, const MapFamily& family, int layer) {
  const int64_t heads = found.entropy.size(1), rows = found.entropy.size(2), keys = found.received.size(2),
                reach = (found.offsets.size(2) - 1) / 2;
  ReductionRequest request = atlas_request(text);
  // A family over a range of the text sees that range only. If rows and columns are different ranges, positions in one do not
  // correspond to positions in the other.
  const Range seen_keys = family.is_part ? Range{family.first_key, family.first_key + family.keys} : Range{0, keys};
  const ItemRange* last_keys = family.is_part && family.keys > 0 ? text.items_of(family.first_key + family.keys - 1) : nullptr;
  const bool is_grid = last_keys && last_keys->rows > 0;  // a grid of patches: neighbouring ids may be far apart
  const bool is_across = family.first_query != family.first_key || is_grid;
  const auto seen = [&](int64_t i) { return family.causal ? i - seen_keys.begin + 1 : seen_keys.size(); };
  for (Match& match : request.matches) {
    for (int64_t j = 0; j < keys; ++j) {
      if (j < seen_keys.begin || j >= seen_keys.end) match.key_tags[static_cast<size_t>(j)] = -1;
    }
  }
  std::vector<std::vector<uint8_t>> candidates;
  for (const Match& match : request.matches) candidates.push_back(rows_with_candidates(match, found.queries, family.causal));
  int64_t with_previous = 0;
  for (const int64_t i : found.queries) with_previous += i > family.first_query;
  constexpr std::array<HeadScore, kMatchCount> kMatchScore{HeadScore::kDuplicate, HeadScore::kInduction, HeadScore::kDelimiter,
                                                           HeadScore::kRetrieval};

  std::vector<HeadScores> out;
  for (int64_t h = 0; h < heads; ++h) {
    HeadScores head{.layer = layer, .head = h};
    const auto put = [&](HeadScore score, double value) { head.scores[static_cast<size_t>(score)] = static_cast<float>(value); };
    const float* offset = found.offsets.data<float>() + h * (2 * reach + 1) + reach;
    const double all_rows =
        static_cast<double>(std::max<int64_t>(1, rows)) *
        (found.exact ? 1.0 : static_cast<double>(family.is_part ? family.queries : keys) / static_cast<double>(std::max<int64_t>(1, rows)));
    put(HeadScore::kPrevious,
        with_previous > 0 ? offset[-1] / (all_rows * static_cast<double>(with_previous) / static_cast<double>(rows)) : std::nan(""));
    put(HeadScore::kSelf, offset[0] / all_rows);
    double local = 0;
    for (int64_t o = -kLocalReach; o <= kLocalReach; ++o) local += offset[o];
    put(HeadScore::kLocal, local / all_rows);
    put(HeadScore::kFirst, keys > 0 ? found.received.data<float>()[h * keys + seen_keys.begin] / all_rows : std::nan(""));
    Mean broad, far;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t n = seen(found.queries[static_cast<size_t>(r)]);
      if (n > 1) broad.add(static_cast<double>(found.entropy.data<float>()[h * rows + r]) / std::log(static_cast<double>(n)));
      far.add(found.distance.data<float>()[h * rows + r]);
    }
    put(HeadScore::kBroad, broad.value());
    put(HeadScore::kDistance, far.value());
    for (size_t m = 0; m < kMatchCount; ++m) {
      Mean mean;
      const float* sums = found.matches.data<float>() + (static_cast<int64_t>(m) * heads + h) * rows;
      for (int64_t r = 0; r < rows; ++r) {
        if (candidates[m][static_cast<size_t>(r)]) mean.add(sums[r]);
      }
      put(kMatchScore[m], mean.value());
    }
    if (is_across) {
      for (const HeadScore score : {HeadScore::kPrevious, HeadScore::kSelf, HeadScore::kLocal, HeadScore::kDistance})
        put(score, std::nan(""));
    }
    name_kind(head);
    out.push_back(std::move(head));
  }
  return out;
}

std::vector<HeadScores> head_atlas(const Trace& trace, const std::string& family, const LookOptions& options) {
  std::vector<HeadScores> out;
  const std::vector<int> layers = trace.layers(family);
  const MapFamily* shape = nullptr;
  for (const MapFamily& known : trace.plan().families) {
    if (known.name == family) shape = &known;
  }
  if (!shape) fail(ErrorCode::kNotFound, "atlas: the trace has no attention family \"{}\"", family);
  for (size_t at = 0; at < layers.size(); ++at) {
    LookOptions own = options;
    if (options.progress) {
      own.progress = [&, at](double part) { options.progress((static_cast<double>(at) + part) / static_cast<double>(layers.size())); };
    }
    const ReductionResult& found = trace.statistics(family, layers[at], own);
    // Statistics of the prefill do not cover tokens that were generated later; their number of keys shows what they cover.
    const RunText text = first_tokens(trace.plan().text, found.received.size(2));
    for (HeadScores& head : head_scores(found, text, *shape, layers[at])) out.push_back(std::move(head));
  }
  return out;
}

}  // namespace clearhead
