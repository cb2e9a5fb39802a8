// clearhead run score: how well a causal model predicts a text.
#include <algorithm>
#include <cmath>
#include <optional>

#include "base/format.h"
#include "clearhead/generate.h"
#include "clearhead/tokenizer.h"
#include "cli/measure.h"
#include "cli/places.h"
#include "cli/run_command.h"

namespace clearhead::cli {
namespace {

// Scores of a long text in ranges whose ends grow by a factor of four. They show whether predictions get worse with distance from
// the beginning.
std::vector<Scored> ranges_of(const Encoding& encoding, const std::vector<float>& log_probabilities) {
  const int64_t count = static_cast<int64_t>(encoding.size());
  std::vector<Scored> out;
  for (int64_t begin = 1, end = 256; begin < count; begin = end, end *= 4)
    out.push_back(sum_of(encoding, log_probabilities, begin, std::min(end, count)));
  return out;
}

struct TextScore {
  int64_t tokens = 0, bytes = 0;
  std::vector<float> log_probabilities{};  // of the tokens after the first
  Scored all{};                            // of tokens 1 and up; unset if there are fewer than two tokens
  std::optional<std::vector<Scored>> ranges{};
};

TextScore score_of(const Encoding& encoding, const std::string& text, std::vector<float> log_probabilities) {
  TextScore out{.tokens = static_cast<int64_t>(encoding.size()), .bytes = static_cast<int64_t>(text.size())};
  out.log_probabilities = std::move(log_probabilities);
  if (out.tokens > 1) out.all = sum_of(encoding, out.log_probabilities, 1, out.tokens);
  return out;
}

struct Score final : TextCommand<TextScore> {
  Score() : TextCommand("reading") {}

  TextScore answer_text(const Model& of, const std::string& given) override {
    const Encoding encoding = of.tokenizer().encode(given, {.add_special_tokens = false});
    if (const size_t count = encoding.size(); count < 2)
      usage_error(format("the text has {} token{}, and a score needs at least 2; give a longer text", count, count == 1 ? "" : "s"));
    const Interventions changes = interventions.interventions();
    check_places_in(changes, of, encoding);
    Progress progress("reading");
    TextScore out = score_of(encoding, given, log_probabilities(of, encoding.ids, changes, progress.callback()));
    out.ranges = ranges_of(encoding, out.log_probabilities);
    return out;
  }
  std::vector<TextScore> answer_window(const Model& of, const Window& window) override {
    const std::vector<Encoding> encodings = encoded_lines(of, window.lines, {.add_special_tokens = false});
    for (const Encoding& encoding : encodings) {
      if (encoding.size() > 0) check_places_in(window.options.interventions, of, encoding);
    }
    std::vector<std::vector<float>> each = log_probabilities_all(of, encodings, window.options);
    std::vector<TextScore> out;
    for (size_t line = 0; line < encodings.size(); ++line)
      out.push_back(score_of(encodings[line], window.lines[line], std::move(each[line])));
    return out;
  }

  Json json_of(const TextScore& score) const override {
    const bool has = score.tokens > 1;
    Json out = Json::object({{"tokens", score.tokens},
                             {"bytes", score.bytes},
                             {"nats_per_token", has ? Json(score.all.per_token()) : Json()},
                             {"perplexity", has ? Json(std::exp(score.all.per_token())) : Json()},
                             {"bits_per_byte", has ? Json(score.all.bits_per_byte()) : Json()}});
    if (score.ranges) {
      Json ranges = Json::array();
      for (const Scored& range : *score.ranges)
        ranges.push(Json::object(
            {{"begin", range.begin}, {"end", range.end}, {"nats_per_token", range.per_token()}, {"bits_per_byte", range.bits_per_byte()}}));
      out["ranges"] = std::move(ranges);
    }
    out["log_probabilities"] = Json::Array(score.log_probabilities.begin(), score.log_probabilities.end());
    return out;
  }
  std::string line_of(const TextScore& score) const override {
    const std::string size = format("{} tokens, {} bytes", with_commas(score.tokens), with_commas(score.bytes));
    if (score.tokens < 2) return size + ": nothing to predict";
    return size + format(": {:.4f} nats per token (perplexity {:.2f}), {:.4f} bits per byte", score.all.per_token(),
                         std::exp(score.all.per_token()), score.all.bits_per_byte());
  }
  void print_answer(const TextScore& score) const override {
    print(line_of(score));
    for (const Scored& range : *score.ranges)
      print(format("  tokens {:>9} to {:>9}  {:.4f} bits per byte", with_commas(range.begin), with_commas(range.end - 1),
                   range.bits_per_byte()));
  }
};

}  // namespace

const RunCommand& score_command() {
  static const RunCommand command = {
      .name = "score",
      .description = "Print how well a causal model predicts a text, in bits per byte, overall and by position",
      .add = add_text_command<Score>};
  return command;
}

}  // namespace clearhead::cli
