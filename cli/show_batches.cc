// The parts a run would see, decoded for people or as a line of JSON each (ids, targets, how many count). Padding is left out.
#include "cli/show_batches.h"

#include "base/format.h"
#include "clearhead/tokenizer.h"
#include "cli/cli.h"
#include "cli/terminal.h"
#include "models/config.h"
#include "train/learner.h"
#include "train/task.h"

namespace clearhead::cli {
namespace {

std::vector<int32_t> row_of(const Rows& rows, int64_t row) {
  const int64_t length = rows.lengths.empty() ? rows.length : rows.lengths[static_cast<size_t>(row)];
  const auto begin = rows.ids.begin() + row * rows.length;
  return {begin, begin + length};
}

Json json_of(const Rows& rows) {
  Json out = Json::array();
  for (int64_t row = 0; row < rows.batch; ++row) {
    const std::vector<int32_t> ids = row_of(rows, row);
    out.push(Json(Json::Array(ids.begin(), ids.end())));
  }
  return out;
}

// Of one part: a line of JSON.
void print_json_of(const Example& part) {
  Rows targets = part.input;
  targets.ids = part.targets;
  Json line = Json::object({{"ids", json_of(part.input)}, {"targets", json_of(targets)}, {"counted", part.counted}});
  if (part.source && part.source->features.defined()) {
    line["source_frames"] = Json(Json::Array(part.source->lengths.begin(), part.source->lengths.end()));
  } else if (part.source) {
    line["source_ids"] = json_of(*part.source);
  }
  print_json(line);
}

void print_part(const Example& part, int64_t number, const Tokenizer& tokenizer) {
  print(format("part {}: {} sequences of at most {} tokens, {} targets", number, part.input.batch, part.input.length, part.counted));
  for (int64_t row = 0; row < part.input.batch; ++row) {
    if (part.source && part.source->features.defined()) {
      print(format("  from  {} frames", part.source->lengths[static_cast<size_t>(row)]));
    } else if (part.source) {
      print("  from  " + visible(tokenizer.decode(row_of(*part.source, row))));
    }
    print((part.source ? "  to    " : "  ") + visible(tokenizer.decode(row_of(part.input, row))));
  }
}

}  // namespace

void show_batches(const Recipe& given, int64_t count, bool json) {
  const Recipe recipe = fitted_to_task(given);
  const std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::from_json(tokenizer_json_of(recipe));
  const std::unique_ptr<Task> task = task_of(recipe, *tokenizer, task_facts(recipe));
  for (int64_t number = 0; number < count; ++number) {
    const Example part = task->part(number);
    if (json) {
      print_json_of(part);
    } else {
      print_part(part, number, *tokenizer);
    }
  }
}

}  // namespace clearhead::cli
