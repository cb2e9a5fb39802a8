// clearhead circuits MODEL: the circuits of its heads over the vocabulary, from the weights alone.
#include <cmath>

#include "base/format.h"
#include "clearhead/tokenizer.h"
#include "cli/cli.h"
#include "cli/terminal.h"
#include "explain/circuit_weights.h"
#include "explain/circuits.h"

namespace clearhead::cli {
namespace {

using namespace explain;  // NOLINT(google-build-using-namespace)

struct Options {
  std::string model, layers, head, token;
  int64_t top = 10;
  bool json = false;
};

// A token as text, in quotes; a piece of a character as the vocabulary spells it.
std::string text_of(const Tokenizer& tokenizer, int32_t token) {
  const std::string text = tokenizer.decode({token});
  const bool is_whole = !text.empty() && text.find("\xEF\xBF\xBD") == std::string::npos;
  const std::string shown = visible(is_whole ? text : tokenizer.token(token));
  return shown.empty() ? format("#{}", token) : format("\"{}\"", shown);
}

Json token_json(const Tokenizer& tokenizer, int32_t token) {
  return Json::object({{"id", token}, {"token", std::string(tokenizer.token(token))}});
}

// --token: a text of one token, as it is written or with a leading space; or "#ID".
int32_t token_of(const Tokenizer& tokenizer, const std::string& text, int64_t vocabulary) {
  if (text.starts_with("#")) {
    const std::optional<int64_t> id = whole_number(std::string_view(text).substr(1));
    if (id && *id >= vocabulary) usage_error(format("--token {}: the vocabulary has the ids #0 to #{}", text, vocabulary - 1));
    if (id) return static_cast<int32_t>(*id);
  }
  for (const std::string& spelling : {text, " " + text}) {
    const Encoding encoding = tokenizer.encode(spelling, {.add_special_tokens = false});
    if (encoding.size() == 1) return encoding.ids[0];
  }
  usage_error(
      format("--token \"{}\": this text is not a single token (clearhead tokens MODEL TEXT shows its tokens); expected one token, or an "
             "id such as #12",
             text));
}

struct HeadRow {
  int layer = 0;
  int64_t head = 0;
  double copying = 0;
  NullDistribution null{};
};

std::vector<HeadRow> copying_of(const CircuitWeights& weights, const std::vector<int>& layers) {
  Progress progress("circuits");
  const auto report = progress.callback();
  std::optional<CopyingScores> scores;
  std::vector<HeadRow> out;
  for (size_t at = 0; at < layers.size(); ++at) {
    const AttentionWeights layer = weights.layer(layers[at]);
    if (!scores) scores.emplace(weights.ends(), layer.norm);
    const NullDistribution null = scores->null(layer);
    for (int64_t head = 0; head < layer.heads; ++head) out.push_back({layers[at], head, scores->of(layer, head), null});
    if (report) report(static_cast<double>(at + 1) / static_cast<double>(layers.size()));
  }
  return out;
}

Json row_json(const HeadRow& row) {
  const auto number = [](double value) { return std::isfinite(value) ? Json(value) : Json(); };
  return Json::object({{"layer", row.layer},
                       {"head", row.head},
                       {"copying", number(row.copying)},
                       {"random_mean", number(row.null.mean)},
                       {"random_deviation", number(row.null.deviation)},
                       {"z", number(row.null.z(row.copying))}});
}

std::string left_out(const CircuitWeights& weights) {
  const std::string positions = weights.positions();
  return positions.empty() ? "" : format(" Positions ({}) are left out.", positions);
}

void print_heads(const CircuitWeights& weights, const Options& options) {
  std::vector<int> layers;
  if (!options.layers.empty()) {
    layers = parse_layers(options.layers);
  } else {
    for (int layer = 0; layer < static_cast<int>(weights.info().layers); ++layer) layers.push_back(layer);
  }
  const std::vector<HeadRow> rows = copying_of(weights, layers);
  if (options.json) {
    Json heads = Json::array();
    for (const HeadRow& row : rows) heads.push(row_json(row));
    return print_json(Json::object({{"model", weights.info().name}, {"positions_left_out", weights.positions()}, {"heads", heads}}));
  }
  print(format("{:<8} {:>8} {:>17} {:>7}", "head", "copying", "random heads", "z"));
  for (const HeadRow& row : rows) {
    const bool is_known = std::isfinite(row.copying);
    print(format("{:<8} {:>8} {:>8.3f} ± {:<6.3f} {:>7}", head_name(row.layer, row.head), is_known ? format("{:.3f}", row.copying) : "–",
                 row.null.mean, row.null.deviation, is_known ? format("{:.1f}", row.null.z(row.copying)) : "–"));
  }
  print("copying: Σλ/Σ|λ| over the eigenvalues λ of the OV circuit; 1: the head raises the tokens that it attends to, −1: it lowers them");
}

Json pairs_json(const Tokenizer& tokenizer, const std::vector<TokenPair>& pairs, const char* row, const char* column, const char* value) {
  Json out = Json::array();
  for (const TokenPair& pair : pairs)
    out.push(Json::object({{row, token_json(tokenizer, pair.row)}, {column, token_json(tokenizer, pair.column)}, {value, pair.value}}));
  return out;
}

Json values_json(const Tokenizer& tokenizer, const std::vector<TokenValue>& values) {
  Json out = Json::array();
  for (const TokenValue& one : values) out.push(Json::object({{"token", token_json(tokenizer, one.token)}, {"value", one.value}}));
  return out;
}

constexpr int kTokenWidth = 24;

void print_pairs(const Tokenizer& tokenizer, const std::vector<TokenPair>& pairs) {
  for (const TokenPair& pair : pairs) {
    print(format("  {} → {} {:>9.3f}", fit(text_of(tokenizer, pair.row), kTokenWidth), fit(text_of(tokenizer, pair.column), kTokenWidth),
                 pair.value));
  }
}

void print_values(const Tokenizer& tokenizer, const std::string& title, const std::vector<TokenValue>& values) {
  print(title);
  for (const TokenValue& one : values) print(format("  {} {:>9.3f}", fit(text_of(tokenizer, one.token), kTokenWidth), one.value));
}

void print_token(const VocabularyMatrix& qk, const VocabularyMatrix& ov, const Tokenizer& tokenizer, const Options& options) {
  const int32_t token = token_of(tokenizer, options.token, qk.rows.size(0));
  const std::vector<TokenValue> keys = qk.largest_of_row(token, options.top), raises = ov.largest_of_row(token, options.top),
                                lowers = ov.smallest_of_row(token, options.top);
  if (options.json) {
    return print_json(Json::object({{"token", token_json(tokenizer, token)},
                                    {"reads", values_json(tokenizer, keys)},
                                    {"raises", values_json(tokenizer, raises)},
                                    {"lowers", values_json(tokenizer, lowers)}}));
  }
  const std::string name = text_of(tokenizer, token);
  print_values(tokenizer, format("reads (QK): keys that the query {} scores highest", name), keys);
  print_values(tokenizer, format("writes (OV): logits that attention to {} raises", name), raises);
  print_values(tokenizer, format("writes (OV): logits that attention to {} lowers", name), lowers);
}

void print_head(const CircuitWeights& weights, const Options& options) {
  const HeadName at = parse_head(options.head);
  const AttentionWeights layer = weights.layer(at.layer);
  const VocabularyMatrix qk = qk_circuit(weights.ends(), layer, at.head), ov = ov_circuit(weights.ends(), layer, at.head);
  const std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::load(weights.info().directory);
  if (!options.token.empty()) return print_token(qk, ov, *tokenizer, options);
  const CopyingScores scores(weights.ends(), layer.norm);
  const HeadRow row{at.layer, at.head, scores.of(layer, at.head), scores.null(layer)};
  const double rank = ov.rank_of_own_column();
  const std::vector<TokenPair> reads = qk.largest(options.top), writes = ov.largest(options.top);
  if (options.json) {
    Json out = row_json(row);
    out["model"] = weights.info().name;
    out["positions_left_out"] = weights.positions();
    out["copying_rank"] = rank;
    out["reads"] = pairs_json(*tokenizer, reads, "query", "key", "score");
    out["writes"] = pairs_json(*tokenizer, writes, "source", "output", "logit");
    return print_json(out);
  }
  print(format("{} · {}", weights.info().name, head_name(at.layer, at.head)));
  print(format("copying {:.3f} (random heads {:.3f} ± {:.3f}, z {:.1f}); attention to a token raises it above {:.2f} % of the others",
               row.copying, row.null.mean, row.null.deviation, row.null.z(row.copying), rank * 100));
  print("reads (QK): query → key, score above the mean key");
  print_pairs(*tokenizer, reads);
  print("writes (OV): source → output, logit above the mean token");
  print_pairs(*tokenizer, writes);
  print(format("Each embedding is normalised as if it were the whole residual stream; the scale of the final norm is left out.{}",
               left_out(weights)));
}

void run(const Options& options) {
  if (!options.token.empty() && options.head.empty()) usage_error("--token needs --head, the head whose circuits are shown");
  if (!options.layers.empty() && !options.head.empty())
    usage_error("--layers is for the table of heads; it cannot be combined with --head");
  const CircuitWeights weights(options.model);
  if (options.head.empty()) {
    print_heads(weights, options);
  } else {
    print_head(weights, options);
  }
}

}  // namespace

void add_circuits(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("circuits", "Show what each head reads and writes over the vocabulary, from the weights alone");
  command->footer(
      "Example: clearhead circuits MODEL --head L3.H5 --token cat\n"
      "Without --head: the copying score of every head, beside that of random heads. Source: Elhage et al. 2021.");
  command->add_option("model", options->model, "A decoder with pre-norm layers, such as GPT-2 or Llama")->required();
  command->add_option("--head", options->head, "The head whose circuits are shown: L3.H5")->type_name("HEAD");
  command
      ->add_option("--token", options->token,
                   "With --head: the keys that this token reads, and the logits that it raises and lowers as a source")
      ->type_name("TEXT");
  command->add_option("--layers", options->layers, "Layers of the table of heads: 0,3,5:8 (default: all)")->type_name("LIST");
  command->add_option("--top", options->top, "How many pairs or tokens to print (default: 10)")->check(whole_from(1, 10'000));
  command->add_flag("--json", options->json, "Print JSON");
  command->callback([options] { run(*options); });
}

}  // namespace clearhead::cli
