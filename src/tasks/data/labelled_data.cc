// Reads columns and fields into lines, encodes lines as items, and pads items to batches.
#include "tasks/data/labelled_data.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>

#include "base/format.h"
#include "base/random.h"
#include "base/table.h"
#include "clearhead/error.h"
#include "models/input_kind.h"
#include "ops/ops.h"
#include "tasks/data/held_out.h"
#include "tasks/data/json_lines.h"
#include "tasks/data/table_header.h"
#include "tasks/recipe/task_definition.h"
#include "text/strings.h"
#include "text/unicode.h"

namespace clearhead::tasks {
namespace {

constexpr uint64_t kAugmentationSeed = 0x6D6F7665;
constexpr int64_t kStretch = 32;  // number of batches within which items are sorted by length

}  // namespace

namespace {

// Splits "comedy, drama" into "comedy" and "drama". An empty cell has no labels.
std::vector<std::string> parts_of(std::string_view cell) {
  std::vector<std::string> out;
  while (cell.find_first_not_of(' ') != std::string_view::npos) {
    const size_t comma = std::min(cell.find(','), cell.size());
    const std::string_view part = cell.substr(0, comma);
    const size_t begin = part.find_first_not_of(' '), end = part.find_last_not_of(' ');
    if (begin != std::string_view::npos) out.emplace_back(part.substr(begin, end + 1 - begin));
    cell.remove_prefix(std::min(comma + 1, cell.size()));
  }
  return out;
}

std::vector<std::string> labels_of_field(const Json& line, const std::string& field, bool are_many, const std::string& where) {
  const Json* value = line.find(field);
  if (value && value->is_number()) return {value->dump()};
  if (!are_many) return {text_of(line, field, where)};
  if (!value || !value->is_array()) return parts_of(text_of(line, field, where));
  std::vector<std::string> out;
  for (const Json& label : value->items()) out.push_back(label.is_number() ? label.dump() : label.string());
  return out;
}

}  // namespace

namespace {

// The numbers of a table's columns that are read, counted from 1; 0: none.
struct Columns {
  size_t text = 0, pair = 0, label = 0;
  size_t last() const { return std::max({text, pair, label}); }
};

// Returns true if the recipe gives columns by their names in the first line.
bool has_names(const TaskRecipe& task) {
  return !is_column_number(task.data.text) || !is_column_number(task.data.pair) || !is_column_number(task.data.label);
}

Columns columns_of(const Recipe& recipe, const std::vector<std::string_view>& first_line, const std::string& path) {
  const auto column = [&](const std::string& name, const char* field) {
    if (name.empty()) return size_t{0};
    return column_of(name, std::string("task.") + field, recipe.where, first_line, path);
  };
  const TaskRecipe& task = *recipe.task;
  return {column(task.data.text, "text"), column(task.data.pair, "pair"), column(task.data.label, "label")};
}

// Returns true if the cells of the first line look like column names. lines: all lines, including the first.
bool begins_with_header(const std::vector<LabelledLine>& lines) {
  const LabelledLine& first = lines.front();
  const bool names_text = names_text_column(first.text);
  if (first.labels.empty()) return names_text;
  const bool names_label = names_label_column(first.labels.front());
  if (names_text && names_label) return true;
  const bool is_repeated =
      std::any_of(lines.begin() + 1, lines.end(), [&](const LabelledLine& line) { return line.labels == first.labels; });
  return (names_text || names_label) && !is_repeated;
}

std::vector<LabelledLine> read_table(const std::string& file, const Recipe& recipe, LeftOut& left_out) {
  const TaskRecipe& task = *recipe.task;
  const SourceText opened = open_text(recipe.source, file);
  const bool are_many = task.data.problem == ProblemType::kMultiLabel, is_named = has_names(task);
  std::vector<LabelledLine> out;
  Columns columns;
  std::string first_line;
  for_each_row(opened.text, opened.path(), [&](const TableRow& row) {
    const std::vector<std::string_view>& cells = row.cells;
    if (row.line == 1) {
      first_line = row.text;
      columns = columns_of(recipe, cells, opened.path());
      if (is_named) return;
    }
    const std::string where = format("{}, line {}", opened.path(), row.line);
    if (cells.size() < columns.last())
      fail(ErrorCode::kFormat, "{}: expected {} columns separated by {}, found {}", where, columns.last(), separators_of(opened.path()),
           cells.size());
    const auto cell = [&](size_t at) { return at == 0 ? std::string() : std::string(cells[at - 1]); };
    LabelledLine read{cell(columns.text), cell(columns.pair), {}, where};
    if (columns.label > 0) read.labels = are_many ? parts_of(cell(columns.label)) : std::vector<std::string>{cell(columns.label)};
    out.push_back(std::move(read));
  });
  const bool has_header = is_named || (!out.empty() && begins_with_header(out));
  if (has_header && !is_named) out.erase(out.begin());
  if (has_header) left_out.header = first_line;
  return out;
}

}  // namespace

std::vector<LabelledLine> read_labelled(const std::string& file, const Recipe& recipe, LeftOut* left_out) {
  const TaskRecipe& task = *recipe.task;
  LeftOut unused;
  LeftOut& to = left_out ? *left_out : unused;
  std::vector<LabelledLine> out;
  if (is_json_lines(file)) {
    const SourceText opened = open_text(recipe.source, file);
    const bool are_many = task.data.problem == ProblemType::kMultiLabel;
    for_each_json_object(opened.text, opened.path(), {}, [&](const Json& line, const std::string& where) {
      out.push_back({text_of(line, task.data.text, where), task.data.pair.empty() ? "" : text_of(line, task.data.pair, where),
                     task.data.label.empty() ? std::vector<std::string>() : labels_of_field(line, task.data.label, are_many, where),
                     where});
    });
  } else {
    out = read_table(file, recipe, to);
  }
  to.skipped += static_cast<int64_t>(std::erase_if(out, [&](const LabelledLine& line) {
    return std::any_of(line.labels.begin(), line.labels.end(), [&](const std::string& label) {
      return std::find(task.data.skip.begin(), task.data.skip.end(), label) != task.data.skip.end();
    });
  }));
  return out;
}

void check_classes(const std::vector<LabelledLine>& lines) {
  std::map<std::string, std::pair<std::string, std::string>> first;  // without spaces → as written, where
  for (const LabelledLine& line : lines) {
    for (const std::string& label : line.labels) {
      const std::string valid = text::replace_invalid(label), bare(text::strip(valid));
      if (bare.empty()) {
        fail(ErrorCode::kFormat, "{}: the label is empty; expected the name of a class. \"skip\": [{}] in \"task\" leaves such lines out",
             line.where, Json(label).dump());
      }
      const auto& [written, where] = first.try_emplace(bare, label, line.where).first->second;
      if (written != label) {
        fail(ErrorCode::kFormat, "{}: the label {} differs from {} of {} only in the spaces around it; write both the same way", line.where,
             Json(label).dump(), Json(written).dump(), where);
      }
    }
  }
}

void note_left_out(const LeftOut& left_out, DataSummary& summary) {
  if (!left_out.header.empty())
    summary.notes.push_back(format("line 1 names the columns and was left out: {}", Json(left_out.header).dump()));
  summary.note("lines left out because their label is in \"skip\"", left_out.skipped);
}

void note_unread(const std::vector<Item>& items, const NetworkFacts& network, DataSummary& summary) {
  int64_t cut = 0, left_out = 0;
  for (const Item& item : items) {
    if (!item.read) continue;
    cut += item.read->input.truncated + (item.read->source ? item.read->source->truncated : 0);
    left_out += item.read->source ? item.read->source->left_out : 0;
  }
  const char* what = input_kind(network.reads).texts;
  summary.note(format("{} truncated to {} tokens (\"max_position_embeddings\")", what, with_commas(network.longest)), cut);
  summary.note(format("oldest statements left out because a story has more than {} (\"memory_size\")", with_commas(network.slots)),
               left_out);
}

Encoding encoded_within(const Tokenizer& tokenizer, const std::string& text, const std::string& pair, int64_t length, bool* is_cut) {
  EncodeOptions options;
  if (!pair.empty()) options.pair = pair;
  Encoding whole = tokenizer.encode(text, options);
  if (is_cut) *is_cut = static_cast<int64_t>(whole.size()) > length;
  return within(std::move(whole), length);
}

Encoding within(Encoding encoding, int64_t length) {
  int64_t of_side[2] = {0, 0};
  for (const uint8_t segment : encoding.segment) {
    if (segment != Encoding::kSpecial) ++of_side[segment];
  }
  for (int64_t over = static_cast<int64_t>(encoding.size()) - length; over > 0 && of_side[0] + of_side[1] > 0; --over)
    --of_side[of_side[1] > of_side[0]];
  Encoding out;
  for (size_t token = 0; token < encoding.size(); ++token) {
    if (!encoding.is_special(token) && of_side[encoding.segment[token]]-- <= 0) continue;
    out.ids.push_back(encoding.ids[token]);
    out.type_ids.push_back(encoding.type_ids[token]);
    out.offsets.push_back(encoding.offsets[token]);
    out.segment.push_back(encoding.segment[token]);
  }
  return out;
}

int64_t Item::size() const {
  if (!read) return static_cast<int64_t>(ids.size());
  return read->input.positions() + (read->source ? read->source->positions() : 0);
}

namespace {

void add_side(const EncodedSide& side, Digest& digest) {
  for (const std::vector<int32_t>& ids : side.sequences) {
    const uint64_t size = ids.size();
    digest.add(&size, sizeof size);
    digest.add(ids.data(), ids.size() * sizeof(int32_t));
  }
  if (side.features.defined()) digest.add(side.features.raw(), side.features.bytes());
  if (side.graph) digest.add(&side.graph->digest, sizeof side.graph->digest);
}

}  // namespace

uint64_t Item::hash() const {
  Digest digest;
  const bool is_in_ids = group < 0 && !read;
  if (group >= 0) digest.add(&group, sizeof group);
  if (is_in_ids) digest.add(ids.data(), ids.size() * sizeof(int32_t));
  if (group < 0 && read) add_side(read->source ? *read->source : read->input, digest);
  return digest.value();
}

ItemBatches::ItemBatches(std::vector<Item> items, int64_t batch, int32_t pad, bool per_token)
    : items_(std::move(items)), batch_(batch), pad_(pad), per_token_(per_token) {
  for (const Item& item : items_) tokens_ += item.size();
}

ItemBatches ItemBatches::chosen(const std::function<bool(const Item&)>& is_chosen) const {
  std::vector<Item> some;
  std::copy_if(items_.begin(), items_.end(), std::back_inserter(some), is_chosen);
  return {std::move(some), batch_, pad_, per_token_};
}

void ItemBatches::add_to(Digest& digest) const {
  for (const Item& item : items_) {
    for (const std::vector<int32_t>* part : {&item.ids, &item.type_ids, &item.targets}) {
      const uint64_t size = part->size();
      digest.add(&size, sizeof size);
      digest.add(part->data(), part->size() * sizeof(int32_t));
    }
    digest.add(item.values.data(), item.values.size() * sizeof(float));
    if (!item.read) continue;
    add_side(item.read->input, digest);
    if (item.read->source) add_side(*item.read->source, digest);
  }
}

Example ItemBatches::shuffled(uint64_t seed, int64_t number, const Renew& renew) const {
  if (items_.empty()) fail(ErrorCode::kInvalidArgument, "the task's training file has no items");
  const auto size = static_cast<int64_t>(items_.size());
  const int64_t count = (size + batch_ - 1) / batch_, epoch = number / count;
  order_.open(seed, epoch, size, count, [&](std::vector<int64_t>& items) {
    for (int64_t begin = 0; begin < size; begin += kStretch * batch_)
      sort_by_length(items.begin() + begin, items.begin() + std::min(size, begin + kStretch * batch_));
  });
  const int64_t begin = order_.batches[static_cast<size_t>(number % count)] * batch_;
  std::vector<const Item*> items = items_between(order_.items, begin, std::min(size, begin + batch_));
  if (!renew) return example_of(items);
  std::vector<Item> renewed;
  for (size_t place = 0; place < items.size(); ++place) renew(renewed.emplace_back(*items[place]), static_cast<int64_t>(place));
  for (size_t place = 0; place < items.size(); ++place) items[place] = &renewed[place];
  return example_of(items);
}

std::vector<const Item*> ItemBatches::items_between(const std::vector<int64_t>& order, int64_t begin, int64_t end) const {
  std::vector<const Item*> out;
  for (int64_t at = begin; at < end; ++at) out.push_back(&items_[static_cast<size_t>(order[static_cast<size_t>(at)])]);
  return out;
}

void ItemBatches::sort_by_length(std::vector<int64_t>::iterator begin, std::vector<int64_t>::iterator end) const {
  const auto length = [&](int64_t at) { return items_[static_cast<size_t>(at)].size(); };
  std::stable_sort(begin, end, [&](int64_t a, int64_t b) { return length(a) < length(b); });
}

std::vector<Example> ItemBatches::in_order() const {
  const auto size = static_cast<int64_t>(items_.size());
  std::vector<int64_t> order(items_.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  sort_by_length(order.begin(), order.end());
  std::vector<Example> out;
  for (int64_t begin = 0; begin < size; begin += batch_)
    out.push_back(example_of(items_between(order, begin, std::min(size, begin + batch_))));
  return out;
}

Example ItemBatches::example_of(const std::vector<const Item*>& items) const {
  Example out;
  Batch& rows = out.input;
  rows.batch = static_cast<int64_t>(items.size());
  if (items.front()->read) {
    std::vector<const EncodedInput*> inputs;
    for (const Item* const one : items) {
      const Item& item = *one;
      inputs.push_back(&*item.read);
      out.targets.insert(out.targets.end(), item.targets.begin(), item.targets.end());
      out.values.insert(out.values.end(), item.values.begin(), item.values.end());
      if (!item.about.empty()) out.about.push_back(item.about);
      if (item.number >= 0) out.numbers.push_back(item.number);
    }
    EncodedBatch batch = collate(inputs, pad_);
    out.input = std::move(batch.input);
    out.source = std::move(batch.source);
    out.counted = static_cast<int64_t>(out.targets.size()) - std::count(out.targets.begin(), out.targets.end(), -100) +
                  static_cast<int64_t>(out.values.size());
    return out;
  }
  for (const Item* const item : items) rows.length = std::max(rows.length, static_cast<int64_t>(item->ids.size()));
  for (const Item* const one : items) {
    const Item& item = *one;
    const auto append = [&](std::vector<int32_t>& to, const std::vector<int32_t>& values, int32_t fill) {
      to.insert(to.end(), values.begin(), values.end());
      to.resize(to.size() + static_cast<size_t>(rows.length) - values.size(), fill);
    };
    append(rows.ids, item.ids, pad_);
    append(rows.type_ids, item.type_ids, 0);
    rows.lengths.push_back(static_cast<int32_t>(item.ids.size()));
    if (item.number >= 0) out.numbers.push_back(item.number);
    if (per_token_) {
      append(out.targets, item.targets, -100);
    } else {
      out.targets.insert(out.targets.end(), item.targets.begin(), item.targets.end());
    }
    out.values.insert(out.values.end(), item.values.begin(), item.values.end());
    out.counted += static_cast<int64_t>(item.values.size());
    out.counted += std::count_if(item.targets.begin(), item.targets.end(), [](int32_t target) { return target != -100; });
  }
  return out;
}

std::vector<double> largest_of_rows(const Tensor& logits) {
  std::vector<double> out;
  const int64_t classes = logits.size(1);
  const float* row = logits.data<float>();
  for (int64_t r = 0; r < logits.size(0); ++r, row += classes)
    out.push_back(static_cast<double>(std::max_element(row, row + classes) - row));
  return out;
}

std::vector<int64_t> ItemBatches::sizes() const {
  std::vector<int64_t> out;
  for (const Item& item : items_) out.push_back(item.size());
  return out;
}

ItemTask::ItemTask(const Recipe& recipe, const Tokenizer& tokenizer, bool per_token, Read read)
    : files_(*recipe.task),
      seed_(recipe.seed),
      where_(recipe.where),
      batch_(recipe.batch),
      pad_(tokenizer.special_tokens().pad.value_or(0)),
      per_token_(per_token),
      read_(std::move(read)) {}

const ItemTask::Loaded& ItemTask::loaded(std::optional<Loaded>& kept, const std::string& file) const {
  if (kept) return *kept;
  if (files_.held_out > 0 && &kept != &test_) {
    load_split();
    return *kept;
  }
  DataSummary summary;
  std::vector<Item> items = read_(file, summary);
  return kept.emplace(loaded_of(std::move(items), std::move(summary)));
}

ItemTask::Loaded ItemTask::loaded_of(std::vector<Item> items, DataSummary summary) const {
  if (summary.count == 0) summary.count = static_cast<int64_t>(items.size());
  for (const Item& item : items) {
    for (const std::string& label : item.labels) ++summary.classes[label];
  }
  return {{std::move(items), batch_, pad_, per_token_}, std::move(summary)};
}

void ItemTask::load_split() const {
  DataSummary summary;
  std::vector<Item> items = read_(files_.train, summary);
  std::vector<uint64_t> hashes;
  for (const Item& item : items) hashes.push_back(item.hash());
  const std::vector<bool> is_held_out = held_out(hashes, files_.held_out);
  std::array<std::vector<Item>, 2> parts;
  std::array<std::set<uint64_t>, 2> groups;
  for (size_t at = 0; at < items.size(); ++at) {
    parts[is_held_out[at]].push_back(std::move(items[at]));
    groups[is_held_out[at]].insert(hashes[at]);
  }
  const bool are_grouped = summary.count > 0;
  const auto part_of = [&](size_t part) {
    DataSummary of_part = summary;
    of_part.count = static_cast<int64_t>(are_grouped ? groups[part].size() : parts[part].size());
    if (part == 1) of_part.notes.clear();  // notes are about the whole file
    return loaded_of(std::move(parts[part]), std::move(of_part));
  };
  training_.emplace(part_of(0));
  held_.emplace(part_of(1));
}

Example ItemTask::batch(int64_t number) const {
  Example out = batches(training_, files_.train).shuffled(seed_, number, renewal(number));
  if (const ChosenExamples& examples = files_.data.examples)
    examples->augment(out.input.features, random_bits(seed_, kAugmentationSeed), static_cast<uint64_t>(number));
  return out;
}

std::vector<Example> ItemTask::test() const {
  if (files_.test.empty() || batches(test_, files_.test).empty())
    fail(ErrorCode::kInvalidArgument, "{}: \"task\" has no \"test\" file, or that file has no examples; --test needs one", where_);
  return test_->batches.in_order();
}

std::string ItemTask::digest() const { return digest_of(batches(training_, files_.train), batches(held_, files_.valid)); }

// The summary of one split. Folds and passages do not have one file per split, and generated examples have no files at all.
DataSummary ItemTask::summary_of(const char* part, const std::string& file, const Loaded& of) const {
  DataSummary out = of.summary;
  out.part = part;
  const bool is_generated = find_task(files_.kind)->data == DataFields::kGenerated;
  out.files = is_generated                   ? ""
              : !files_.data.files().empty() ? joined_names(files_.data.files())
              : file.empty()                 ? files_.train  // split by "held_out"
                                             : file;
  const std::vector<int64_t> sizes = of.batches.sizes();
  if (std::any_of(sizes.begin(), sizes.end(), [](int64_t size) { return size != 1; })) out.add_lengths("tokens", sizes);
  if (files_.data.problem != ProblemType::kRegression) out.note_suspicious_classes();
  return out;
}

std::vector<DataSummary> ItemTask::summary() const {
  return {summary_of("training", files_.train, loaded(training_, files_.train)),
          summary_of("validation", files_.valid, loaded(held_, files_.valid))};
}

namespace {

Tensor by_token(const Tensor& logits) { return logits.reshape({logits.size(0) * logits.size(1), logits.size(2)}); }

}  // namespace

Tensor TokenTask::loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const {
  return ops::cross_entropy(run, by_token(result.class_logits), example.targets,
                            {.smoothing = static_cast<float>(smoothing), .divisor = divisor});
}

std::vector<double> TokenTask::predictions(const RunResult& result, const Example&) const {
  return largest_of_rows(by_token(result.class_logits));
}

}  // namespace clearhead::tasks
