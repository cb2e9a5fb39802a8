// Sequential recommendation (SASRec: Kang & McAuley 2018): the next item of a user, from the items before. A causal model reads a user's
// items, each of which is one token, and predicts the next one at every position. The loss is the cross-entropy over all items.
//
// The file has a line for each user, with the items from the oldest to the newest. The last item of each user is for testing, the last
// but one for validation, and those before for training. A measurement ranks all items except those that the model reads, which a user
// already has.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "base/format.h"
#include "base/table.h"
#include "clearhead/error.h"
#include "ops/ops.h"
#include "tasks/data/labelled_data.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {
namespace {

constexpr size_t kFewest = 4;  // items of a user: two for training, and one each for validation and testing
constexpr double kCutoff = 10;

struct UsersRecipe {
  std::string file{};
  bool trains_on_validation = false;
};

const Schema<UsersRecipe>& settings_schema() {
  static const Schema<UsersRecipe> schema = {
      schema::required_string("file", &UsersRecipe::file,
                              "a table (*.csv with commas, others with tabs) without a header: a user and the user's items, oldest first, "
                              "with blanks between. The last item is for testing, the last but one for validation"),
      schema::boolean("train_on_validation", &UsersRecipe::trains_on_validation,
                      "also train on the items for validation, for a last run with settings that were chosen without it; what is measured "
                      "during such a run is no measure of unseen items"),
  };
  return schema;
}

struct User {
  std::string items{}, where{};
};

// Returns the items of a cell with one blank between. count: their number
std::string joined_items(std::string_view cell, size_t& count) {
  std::string out;
  count = 0;
  for (size_t at = 0; at < cell.size();) {
    const size_t begin = cell.find_first_not_of(' ', at);
    if (begin == std::string_view::npos) break;
    at = std::min(cell.find(' ', begin), cell.size());
    out += (out.empty() ? "" : " ") + std::string(cell.substr(begin, at - begin));
    ++count;
  }
  return out;
}

// Throws kFormat with file, line and column for a row without two cells, without a user, with a user who occurred before, or with too few
// items.
std::vector<User> users_of(const Recipe& recipe) {
  const SourceText opened = open_text(recipe.source, recipe.task->as<UsersRecipe>().file);
  std::vector<User> out;
  std::map<std::string, int64_t, std::less<>> lines;  // of each user
  for_each_row(opened.text, opened.path(), [&](const TableRow& row) {
    const std::string where = format("{}, line {}", opened.path(), row.line);
    if (row.cells.size() != 2)
      fail(ErrorCode::kFormat, "{}: expected 2 columns with {} between, a user and the user's items; found {}", where,
           separators_of(opened.path()), row.cells.size());
    const std::string_view user = row.cells[0];
    if (user.empty()) fail(ErrorCode::kFormat, "{}, column 1: the user is empty; expected a name or number", where);
    const auto [before, is_new] = lines.try_emplace(std::string(user), row.line);
    if (!is_new)
      fail(ErrorCode::kFormat, "{}, column 1: the user {} has items in line {} too; put all items of a user in one line", where,
           Json(std::string(user)).dump(), before->second);
    size_t count = 0;
    std::string items = joined_items(row.cells[1], count);
    if (count < kFewest)
      fail(ErrorCode::kFormat,
           "{}, column 2: {} items; expected {} or more with blanks between: two for training, one for validation, one for testing", where,
           count, kFewest);
    out.push_back({std::move(items), where});
  });
  if (out.empty()) fail(ErrorCode::kFormat, "{}: there are no users; expected a line for each", opened.path());
  return out;
}

class Recommendation final : public ItemTask {
 public:
  Recommendation(const Recipe& recipe, const Tokenizer& tokenizer)
      : ItemTask(recipe, tokenizer, /*per_token=*/true,
                 [&](const std::string& part, DataSummary& summary) { return items_of(part, recipe, tokenizer, summary); }),
        tokenizer_(tokenizer) {}

  Example batch(int64_t number) const override { return of_targets(ItemTask::batch(number)); }
  std::vector<Example> validation_batches() const override { return all_of_targets(ItemTask::validation_batches()); }
  std::vector<Example> test() const override { return all_of_targets(ItemTask::test()); }

  Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const override {
    return ops::cross_entropy(run, result.causal_logits, example.targets, {.smoothing = static_cast<float>(smoothing), .divisor = divisor});
  }
  std::vector<std::string> metric_names() const override { return {"ndcg_at_10", "hit_rate_at_10"}; }
  // The rank of each target, counted from 1. Among equal logits the target is last.
  std::vector<double> predictions(const RunResult& result, const Example& example) const override {
    const Tensor& logits = result.causal_logits;
    const int64_t count = std::min(logits.size(1), tokenizer_.vocabulary_size());
    std::vector<int32_t> special;
    for (int32_t id = 0; id < count; ++id) {
      if (tokenizer_.is_special(id)) special.push_back(id);
    }
    std::vector<double> out;
    for (size_t at = 0; at < example.targets.size(); ++at) {
      const float* row = logits.data<float>() + static_cast<int64_t>(at) * logits.size(1);
      const float own = row[example.targets[at]];
      std::set<int32_t> left_out(special.begin(), special.end());
      const int64_t place = (*example.masked_rows)[at], begin = place / example.input.length * example.input.length;
      for (int64_t read = begin; read <= place; ++read) left_out.insert(example.input.ids[static_cast<size_t>(read)]);
      int64_t rank = std::count_if(row, row + count, [&](float logit) { return logit >= own; });
      for (const int32_t id : left_out) rank -= row[id] >= own && id != example.targets[at];
      out.push_back(left_out.contains(example.targets[at]) ? static_cast<double>(count) : static_cast<double>(rank));
    }
    return out;
  }
  std::vector<double> metrics(const std::vector<Example>&, const std::vector<std::vector<double>>& predictions) const override {
    double users = 0, hits = 0, gain = 0;
    for (const std::vector<double>& ranks : predictions) {
      for (const double rank : ranks) {
        ++users;
        if (rank > kCutoff) continue;
        ++hits;
        gain += 1 / std::log2(rank + 1);  // NDCG of one relevant item, as metrics::ranking() defines it
      }
    }
    return {gain / std::max(1.0, users), hits / std::max(1.0, users)};
  }
  Measured measured(const std::vector<Example>& examples) const override { return {ItemTask::measured(examples).count, "users"}; }

 private:
  // Computes logits only where there is a target.
  static Example of_targets(Example example) {
    std::vector<int32_t> targets;
    example.masked_rows.emplace();
    for (size_t place = 0; place < example.targets.size(); ++place) {
      if (example.targets[place] == -100) continue;
      example.masked_rows->push_back(static_cast<int32_t>(place));
      targets.push_back(example.targets[place]);
    }
    example.targets = std::move(targets);
    return example;
  }
  static std::vector<Example> all_of_targets(std::vector<Example> examples) {
    for (Example& example : examples) example = of_targets(std::move(example));
    return examples;
  }

  // part: one of TaskRecipe::kParts
  static std::vector<Item> items_of(const std::string& part, const Recipe& recipe, const Tokenizer& tokenizer, DataSummary& summary) {
    const bool is_training = part == TaskRecipe::kParts[0];
    const bool trains_on_validation = recipe.task->as<UsersRecipe>().trains_on_validation;
    const size_t held_back = part == TaskRecipe::kParts[2] ? 0 : is_training && !trains_on_validation ? 2 : 1;
    summary.of = "users";
    std::vector<Item> out;
    int64_t cut = 0;
    for (const User& user : users_of(recipe)) {
      std::vector<int32_t> ids = tokenizer.encode(user.items).ids;
      const auto words = static_cast<size_t>(std::count(user.items.begin(), user.items.end(), ' ')) + 1;
      if (ids.size() != words)
        fail(ErrorCode::kInvalidArgument,
             "{}: the tokenizer makes {} tokens of {} items; expected one for each, as with \"tokenizer\": \"words\"", user.where,
             ids.size(), words);
      ids.resize(ids.size() - held_back);
      const auto most = static_cast<size_t>(recipe.length) + 1;  // the model reads all but the last
      if (ids.size() > most) {
        ids.erase(ids.begin(), ids.end() - static_cast<std::ptrdiff_t>(most));
        ++cut;
      }
      std::vector<int32_t> targets(ids.begin() + 1, ids.end());
      if (!is_training) std::fill(targets.begin(), targets.end() - 1, -100);
      ids.pop_back();
      Item item{std::move(ids), {}, std::move(targets)};
      out.push_back(std::move(item));
    }
    summary.note(format("users of whom only the newest {} items are read (\"length\")", with_commas(recipe.length)), cut);
    return out;
  }

  const Tokenizer& tokenizer_;
};

std::vector<std::string> items_of_users(const Recipe& recipe) {
  std::vector<std::string> out;
  for (User& user : users_of(recipe)) out.push_back(std::move(user.items));
  return out;
}

void read(Fields& fields, Recipe& to) {
  read_settings(settings_schema(), fields, to);
  const auto& parts = TaskRecipe::kParts;
  std::tie(to.task->train, to.task->valid, to.task->test) = std::tuple(parts[0], parts[1], parts[2]);
}

// Marks the trained model as one whose tokens are items (cli/run/recommend.cc).
void configure(const Recipe&, Json& model) {
  if (!model.find("task_specific_params")) model["task_specific_params"] = Json::object();
  model["task_specific_params"]["recommendation"] = Json::object();
}

}  // namespace

const TaskDefinition& sequential_recommendation_task() {
  static const TaskDefinition definition = {
      .name = "sequential-recommendation",
      .description = "the next item of a user from the items before, by a causal model whose tokens are items",
      .data = DataFields::kSplit,
      .head = TrainedHead::kCausal,
      .can_hold_out = false,
      .fields = [] { return settings_schema().describe(); },
      .read = read,
      .commands = {{"recommend", "\"ITEM ITEM …\""}},
      .configure = configure,
      .vocabulary_texts = items_of_users,
      .make = make_task<Recommendation>,
  };
  return definition;
}

}  // namespace clearhead::tasks
