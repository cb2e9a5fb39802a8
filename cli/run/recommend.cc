// clearhead run recommend: the items that a user chooses next, from the items before.
#include <algorithm>
#include <cmath>
#include <set>

#include "base/format.h"
#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "clearhead/tokenizer.h"
#include "cli/input.h"
#include "cli/run_command.h"
#include "cli/terminal.h"
#include "ops/ops.h"

namespace clearhead::cli {
namespace {

// True for a causal model that the task "sequential-recommendation" trained, which writes these settings.
bool recommends(const ModelInfo& info) { return info.has_causal && has_task_parameters(info, "recommendation"); }

// Encodes the items. Throws kInvalidArgument if there are none or if the model does not know one of them, and kTooLong if there are more
// than the model has positions.
Encoding known_items(const Model& model, const std::string& text) {
  Encoding items = model.tokenizer().encode(text);
  const ModelInfo& info = model.info();
  if (items.size() == 0) fail(ErrorCode::kInvalidArgument, "there are no items; expected items with blanks between, oldest first");
  for (size_t at = 0; at < items.size(); ++at) {
    if (!model.tokenizer().is_special(items.ids[at])) continue;
    const auto [begin, end] = items.offsets[at];
    fail(ErrorCode::kInvalidArgument, "column {}: the model does not know the item {}; expected items of its training data", begin + 1,
         Json(text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin))).dump());
  }
  if (static_cast<int64_t>(items.size()) > info.longest)
    fail(ErrorCode::kTooLong, "there are {} items, and the model reads {} at most; leave out the oldest",
         with_commas(static_cast<int64_t>(items.size())), with_commas(info.longest));
  return items;
}

using Items = std::vector<Candidate>;

struct Recommend final : TextCommand<Items> {
  Recommend() : TextCommand("recommending") {}

  int64_t top = 10;

  void add_options(CLI::App& app) override { app.add_option("--top", top, "How many items to print (default: 10)")->check(whole_from(1)); }
  void begin(const Model& of) override {
    if (!recommends(of.info()))
      fail(ErrorCode::kUnsupported, "{}: the model does not recommend items; expected one trained for \"sequential-recommendation\"",
           of.info().name);
  }

  // Returns the most probable items that are not among the given ones. Probabilities are those of the softmax over all tokens.
  Items answer_text(const Model& of, const std::string& given) override {
    const Encoding items = known_items(of, given);
    const auto last = static_cast<int32_t>(items.size()) - 1;
    const Tensor logits =
        of.run(items, {.masked_rows = std::vector<int32_t>{last}, .interventions = interventions_in(of, given)}).causal_logits;
    const float* values = logits.data<float>();
    const int64_t count = logits.size(1), known = std::min(count, of.tokenizer().vocabulary_size());
    const double whole = ops::log_sum_exp(values, count);
    const std::set<int32_t> had(items.ids.begin(), items.ids.end());
    std::vector<int32_t> order;
    for (int32_t id = 0; id < known; ++id) {
      if (!had.contains(id) && !of.tokenizer().is_special(id)) order.push_back(id);
    }
    const auto shown = static_cast<std::ptrdiff_t>(std::min<int64_t>(top, static_cast<int64_t>(order.size())));
    std::partial_sort(order.begin(), order.begin() + shown, order.end(),
                      [&](int32_t a, int32_t b) { return values[a] != values[b] ? values[a] > values[b] : a < b; });
    Items out;
    for (std::ptrdiff_t at = 0; at < shown; ++at) {
      const int32_t id = order[static_cast<size_t>(at)];
      out.push_back({id, std::string(of.tokenizer().token(id)), static_cast<float>(std::exp(static_cast<double>(values[id]) - whole))});
    }
    return out;
  }

  Json json_of(const Items& found) const override {
    Json out = Json::array();
    for (const Candidate& one : found)
      out.push(Json::object({{"item", one.token}, {"id", static_cast<int64_t>(one.id)}, {"probability", one.probability}}));
    return out;
  }
  std::string line_of(const Items& found) const override {
    std::string line;
    for (const Candidate& one : found) line += (line.empty() ? "" : " ") + visible(one.token);
    return line;
  }
  void print_answer(const Items& found) const override {
    for (const Candidate& one : found) print(format("{:>7.2f} %  {}", one.probability * 100, visible(one.token)));
    if (found.empty()) notice("the model knows no other items");
  }
};

}  // namespace

const RunCommand& recommend_command() {
  static const RunCommand command = {.name = "recommend",
                                     .description = "Print the items that a user chooses next, from the items before",
                                     .is_task_of = recommends,
                                     .specificity = 3,
                                     .add = add_text_command<Recommend>};
  return command;
}

}  // namespace clearhead::cli
