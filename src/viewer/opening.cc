// Looks at rows of every head for the largest weight that says something.
#include "viewer/opening.h"

#include <algorithm>
#include <vector>

#include "base/format.h"

namespace clearhead::viewer {
namespace {

constexpr double kWork = 4e9;    // limit in multiply-adds
constexpr int64_t kMost = 64;    // rows
constexpr int64_t kContext = 5;  // words before the first row: the weights of a row with few keys are large, but say little
constexpr float kLeast = 0.2F;

class Opening {
 public:
  explicit Opening(LoadedTrace& loaded)
      : loaded_(loaded), family_(loaded.trace().main_family()), known_(loaded.facts(family_)), text_(loaded.trace().plan().text) {}

  std::string state() {
    if (!is_of_tokens(text_, known_.shape) || !known_.sums_to_one) return "";
    const std::vector<int64_t> rows = rows_to_search();
    for (const int layer : known_.layers) {
      const LayerMap map = loaded_.trace().map(family_, layer);
      for (int64_t head = 0; head < known_.shape.heads; ++head)
        for (const int64_t row : rows) search(layer, head, row, map.row(head, row).weights());
    }
    return best_.weight < kLeast ? "" : format("h={}.{}&q={}", best_.layer, best_.head, best_.query);
  }

 private:
  struct Found {
    float weight = 0;
    int layer = 0;
    int64_t head = 0, query = 0;
  };

  std::string_view bytes_of(int64_t token) const {
    const auto& [begin, end] = text_.offsets[static_cast<size_t>(token)];
    return std::string_view(text_.text).substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  }
  // True for a token with two letters, or with a character outside of ASCII.
  bool is_word(int64_t token) const {
    if (text_.special[static_cast<size_t>(token)]) return false;
    const std::string_view bytes = bytes_of(token);
    const auto is_letter = [](char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; };
    const auto is_beyond_ascii = [](char c) { return static_cast<unsigned char>(c) >= 0x80; };
    return std::count_if(bytes.begin(), bytes.end(), is_letter) >= 2 || std::any_of(bytes.begin(), bytes.end(), is_beyond_ascii);
  }
  bool is_named_by_word(int64_t row) const {
    const std::optional<int64_t> named = known_.written.named_by(row);
    return named && is_word(*named);
  }
  bool is_across() const { return known_.shape.first_query != known_.shape.first_key; }

  std::vector<int64_t> rows_to_search() const {
    const double of_row = static_cast<double>(known_.shape.heads * static_cast<int64_t>(known_.layers.size()) * known_.keys) *
                          static_cast<double>(std::max<int64_t>(1, known_.shape.d_k));
    const auto most = std::min(static_cast<int64_t>(kWork / std::max(1.0, of_row)), kMost);
    std::vector<int64_t> out;
    if (const auto& answers = loaded_.options().answers; most > 0 && !answers.empty() && answers.front().token) {
      const int64_t labelled = *answers.front().token;  // the row that says most about the answer of a model that labels tokens
      for (const Range& kept : known_.rows) {
        if (labelled >= kept.begin && labelled < kept.end) return {labelled};
      }
    }
    int64_t words = is_across() ? kContext : 0;
    for (const Range& kept : known_.rows) {
      for (int64_t token = kept.begin; token < kept.end && static_cast<int64_t>(out.size()) < most; ++token)
        if (is_word(token) && is_named_by_word(token) && words++ >= kContext) out.push_back(token);
    }
    return out;
  }

  void search(int layer, int64_t head, int64_t query, const std::vector<float>& weights) {
    const std::vector<int32_t>& words = loaded_.words();
    for (int64_t key = known_.key_range().begin; key < std::min(known_.key_range().end, static_cast<int64_t>(weights.size())); ++key) {
      const float weight = weights[static_cast<size_t>(key)];
      if (!(weight > best_.weight) || !is_word(key)) continue;
      if (std::find(known_.sinks.begin(), known_.sinks.end(), key) != known_.sinks.end()) continue;
      const int32_t apart = words[static_cast<size_t>(query)] - words[static_cast<size_t>(key)];
      if (!is_across() && (std::abs(apart) <= 1 || bytes_of(query) == bytes_of(key))) continue;
      best_ = {weight, layer, head, query};
    }
  }

  LoadedTrace& loaded_;
  std::string family_;
  const FamilyFacts& known_;
  const RunText& text_;
  Found best_{};
};

}  // namespace

std::string opening_state(LoadedTrace& loaded) { return Opening(loaded).state(); }

}  // namespace clearhead::viewer
