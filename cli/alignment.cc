// Computes and prints the alignment of a generated text with its source. The tokens of a word form one box, over which weights
// are summed.
#include "cli/alignment.h"

#include <algorithm>

#include "base/format.h"
#include "cli/cli.h"
#include "cli/look.h"
#include "cli/terminal.h"
#include "observe/written_rows.h"
#include "viewer/questions/head.h"
#include "viewer/words.h"

namespace clearhead::cli {
namespace {

// One box per word, special tokens left out.
std::vector<Box> boxes_of_words(const RunText& text, Range tokens) {
  const std::vector<int32_t> words = viewer::words_of(text);
  std::vector<Box> out;
  int32_t last = -1;
  for (int64_t i = tokens.begin; i < tokens.end; ++i) {
    const auto at = static_cast<size_t>(i);
    if (words[at] < 0) continue;
    const auto [begin, end] = text.offsets[at];
    if (words[at] != last) out.push_back({.begin = i});
    out.back().end = i + 1;
    out.back().label += text.text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    last = words[at];
  }
  for (Box& box : out) {
    box.label.erase(0, box.label.find_first_not_of(" \n\t"));
    box.label.erase(box.label.find_last_not_of(" \n\t") + 1);
  }
  std::erase_if(out, [](const Box& box) { return box.label.empty(); });
  return out;
}

}  // namespace

Alignment alignment_of(const Trace& trace, const std::string& named) {
  const MapFamily& shape = trace.family("cross");
  HeadName head{shape.layers - 1, -1};
  if (!named.empty()) head = parse_head(named);
  check_layer(trace, "cross", head.layer);
  if (head.head >= 0) check_head(trace, "cross", head.layer, head.head);
  const RunText& text = trace.plan().text;
  Alignment out{.name = viewer::head_title(shape, head.layer, head.head < 0 ? viewer::kMean : head.head),
                .map = trace.map("cross", head.layer)};
  const WrittenRows written = written_rows(trace, shape);
  out.words.rows = boxes_of_words(text, written.named_by(Range{shape.first_query, shape.first_query + shape.queries}));
  for (Box& word : out.words.rows) {
    const Range rows = written.rows_of({word.begin, word.end});
    word.begin = rows.begin;
    word.end = rows.end;
  }
  out.words.columns = boxes_of_words(text, {shape.first_key, shape.first_key + shape.keys});
  for (int64_t h = 0; h < shape.heads; ++h) {
    if (head.head < 0 || h == head.head) out.heads.push_back(h);
  }
  return out;
}

Json alignment_json(const Alignment& alignment) {
  const auto weights = word_weights(alignment.words, alignment.map, alignment.heads);
  Json list = Json::array();
  for (size_t row = 0; row < weights.size() && !alignment.words.columns.empty(); ++row) {
    const auto best = static_cast<size_t>(std::max_element(weights[row].begin(), weights[row].end()) - weights[row].begin());
    list.push(Json::object(
        {{"word", alignment.words.rows[row].label}, {"source", alignment.words.columns[best].label}, {"weight", weights[row][best]}}));
  }
  return list;
}

void print_alignment(const Alignment& alignment) {
  const Terminal screen = terminal();
  print(cut(format("  cross-attention, {}: the source words that each word attended to", alignment.name), screen.width));
  if (words_fit(screen, alignment.words)) return print_words(screen, alignment.words, alignment.map, alignment.heads);
  const Json list = alignment_json(alignment);
  for (const Json& pair : list.items()) {
    print(format("{:>5.0f} %  {} ← {}", pair.find("weight")->number() * 100, pair.find("word")->string(), pair.find("source")->string()));
  }
}

}  // namespace clearhead::cli
