// Prints the batches that a run would see: decoded, or as one line of JSON each (ids, targets, number of targets). Padding is left
// out.
#include "cli/show_batches.h"

#include <algorithm>

#include "base/format.h"
#include "clearhead/tokenizer.h"
#include "cli/cli.h"
#include "cli/terminal.h"
#include "models/config.h"
#include "models/network.h"
#include "tasks/recipe/task_definition.h"
#include "train/trainable_model.h"

namespace clearhead::cli {
namespace {

std::vector<int32_t> row_of(const Batch& rows, int64_t row) {
  if (rows.ids.empty()) return {};
  const int64_t length = rows.lengths.empty() ? rows.length : rows.lengths[static_cast<size_t>(row)];
  const auto begin = rows.ids.begin() + row * rows.length;
  return {begin, begin + length};
}

Json json_of(const Batch& rows) {
  Json out = Json::array();
  for (int64_t row = 0; row < rows.batch; ++row) {
    const std::vector<int32_t> ids = row_of(rows, row);
    out.push(Json(Json::Array(ids.begin(), ids.end())));
  }
  return out;
}

// Splits values into one list per sequence, or per pair of sequences. All lists have the same length.
template <class Value>
Json by_sequence(const std::vector<Value>& values, int64_t batch) {
  Json out = Json::array();
  const auto each = static_cast<int64_t>(values.size()) / batch;
  for (auto begin = values.begin(); begin != values.end(); begin += each) out.push(Json(Json::Array(begin, begin + each)));
  return out;
}

// Targets per token (−100: no target), or per sequence.
Json targets_of(const tasks::Example& part, bool of_sequences) {
  if (of_sequences) return by_sequence(part.targets, std::min(part.input.batch, static_cast<int64_t>(part.targets.size())));
  Batch targets = part.input;
  targets.ids = part.targets;
  if (part.masked_rows) {
    targets.ids.assign(part.input.ids.size(), -100);
    for (size_t at = 0; at < part.targets.size(); ++at) targets.ids[static_cast<size_t>((*part.masked_rows)[at])] = part.targets[at];
  }
  return json_of(targets);
}

// Prints one batch as a line of JSON.
void print_json_of(const tasks::Example& part, bool of_sequences) {
  Json line = Json::object({{"ids", json_of(part.input)}, {"targets", targets_of(part, of_sequences)}, {"counted", part.counted}});
  if (!part.values.empty()) line["values"] = by_sequence(part.values, part.input.batch);
  if (part.source && part.source->features.defined()) {
    line["source_frames"] = Json(Json::Array(part.source->lengths.begin(), part.source->lengths.end()));
  } else if (part.source) {
    line["source_ids"] = json_of(*part.source);
  }
  print_json(line);
}

std::string text_of(const Batch& rows, int64_t row, const Tokenizer& tokenizer, const std::string& reads) {
  if (rows.features.rank() == 2) return format("{} frames", rows.lengths[static_cast<size_t>(row)]);
  if (rows.features.defined()) return format("a {} {}", reads, to_string(rows.features.select(0, row).shape()));
  return visible(tokenizer.decode(row_of(rows, row)));
}

// reads: as ModelInfo::reads
void print_part(const tasks::Example& part, int64_t number, const Tokenizer& tokenizer, const std::string& reads) {
  print(format("batch {}: {} sequences of at most {} tokens, {} targets", number, part.input.batch, part.input.length, part.counted));
  for (int64_t row = 0; row < part.input.batch; ++row) {
    if (part.source) print("  from  " + text_of(*part.source, row, tokenizer, reads));
    print((part.source ? "  to    " : "  ") + text_of(part.input, row, tokenizer, reads));
  }
}

}  // namespace

void show_batches(const tasks::Recipe& given, int64_t count, bool json) {
  const tasks::Recipe recipe = tasks::fitted_to_task(given);
  const std::shared_ptr<const Tokenizer> tokenizer = Tokenizer::from_json(tasks::tokenizer_json_of(recipe));
  const std::unique_ptr<tasks::Task> task = tasks::task_of(recipe, *tokenizer, train::task_facts(recipe));
  const bool of_sequences = tasks::definition_of(recipe).has_sequence_targets;
  for (int64_t number = 0; number < count; ++number) {
    const tasks::Example part = task->batch(number);
    if (json) {
      print_json_of(part, of_sequences);
    } else {
      print_part(part, number, *tokenizer, what_is_read(recipe.model));
    }
  }
}

}  // namespace clearhead::cli
