// Sorts pairs by length and divides them into batches of at most `max_tokens` tokens on either side. An epoch shuffles the pairs,
// sorts them stably by length, and shuffles the batches.
#include "tasks/data/pair_data.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>
#include <numeric>
#include <set>
#include <tuple>

#include "base/format.h"
#include "base/random.h"
#include "base/table.h"
#include "clearhead/error.h"
#include "models/trace_text.h"
#include "tasks/data/held_out.h"
#include "tasks/data/json_lines.h"
#include "tasks/data/made_dates.h"
#include "tasks/data/table_header.h"
#include "tasks/recipe/recipe.h"
#include "text/turns.h"

namespace clearhead::tasks {

namespace {

constexpr uint64_t kNoiseSeed = 0x6E6F697365;

// Bytes [begin, end) of each word of a text.
std::vector<std::array<int64_t, 2>> words_of(std::string_view text) {
  std::vector<std::array<int64_t, 2>> out;
  constexpr std::string_view kBlanks = " \t\r\n";
  for (size_t begin = text.find_first_not_of(kBlanks); begin != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(kBlanks, begin), text.size());
    out.push_back({static_cast<int64_t>(begin), static_cast<int64_t>(end)});
    begin = text.find_first_not_of(kBlanks, end);
  }
  return out;
}

// Parses an alignment like "0-0 1-2". where: file and line, for messages.
std::vector<WordLink> links_in(std::string_view text, const TextPair& pair, const std::string& where) {
  std::vector<WordLink> out;
  const auto sources = std::ssize(words_of(pair.source)), targets = std::ssize(words_of(pair.target));
  for (const auto& [begin, end] : words_of(text)) {
    const std::string_view link = text.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    WordLink read;
    const char* last = link.data() + link.size();
    const auto source = std::from_chars(link.data(), last, read.source);
    const bool has_dash = source.ec == std::errc() && source.ptr != last && *source.ptr == '-';
    const auto target = std::from_chars(has_dash ? source.ptr + 1 : last, last, read.target);
    if (!has_dash || target.ec != std::errc() || target.ptr != last || read.source < 0 || read.target < 0)
      fail(ErrorCode::kFormat, "{}: expected links such as \"0-0 1-2\" (source word-target word, counted from 0), found \"{}\"", where,
           link);
    if (read.source >= sources || read.target >= targets)
      fail(ErrorCode::kFormat, "{}: the alignment \"{}\" names a word that does not exist; the source has {} words and the target {}",
           where, link, sources, targets);
    out.push_back(read);
  }
  return out;
}

// Converts links of words to links of their tokens, sorted by target, without duplicates.
std::vector<WordLink> links_of_tokens(const TextPair& pair, const Encoding& source, const Encoding& target) {
  const auto tokens_of = [](const std::string& text, const Encoding& encoding) {
    std::vector<std::vector<int32_t>> out;
    for (const auto& [begin, end] : words_of(text)) {
      std::vector<int32_t>& tokens = out.emplace_back();
      for (size_t at = 0; at < encoding.size(); ++at) {
        const auto [first, last] = encoding.offsets[at];
        if (first < last && first < end && begin < last) tokens.push_back(static_cast<int32_t>(at));
      }
    }
    return out;
  };
  const auto sources = tokens_of(pair.source, source), targets = tokens_of(pair.target, target);
  std::set<std::pair<int32_t, int32_t>> links;
  for (const WordLink& link : pair.alignment) {
    for (const int32_t to : targets[static_cast<size_t>(link.target)]) {
      for (const int32_t from : sources[static_cast<size_t>(link.source)]) links.emplace(to, from);
    }
  }
  std::vector<WordLink> out;
  for (const auto& [to, from] : links) out.push_back({from, to});
  return out;
}

// The numbers of a table's columns, counted from 1; alignment 0: none.
struct PairColumns {
  size_t source = 1, target = 2, alignment = 0;
  size_t last() const { return std::max({source, target, alignment}); }
};

PairColumns columns_of(const Recipe& recipe, bool aligned, const std::vector<std::string_view>& first_line, const std::string& path) {
  const auto column = [&](const std::string& name, const char* field) { return column_of(name, field, recipe.where, first_line, path); };
  PairColumns out;
  if (const std::vector<std::string>& fields = recipe.source.fields; !fields.empty()) {
    out.source = column(fields[0], "fields");
    out.target = column(fields[1], "fields");
  }
  if (aligned) out.alignment = column(recipe.alignment->column, "alignment.column");
  return out;
}

void add_pairs(const std::string& file, const Recipe& recipe, bool aligned, std::vector<TextPair>& out, std::vector<std::string>* headers) {
  if (const auto made = made_dates(file)) {
    if (aligned)
      fail(ErrorCode::kUnsupported, "{}: \"alignment\": pairs of \"{}\" have no alignment; give a table that has one", recipe.where, file);
    out.insert(out.end(), made->begin(), made->end());
    return;
  }
  const SourceText opened = open_text(recipe.source, file);
  if (is_json_lines(file)) {
    for_each_json_object(opened.text, opened.path(), {}, [&](const Json& line, const std::string& where) {
      TextPair& pair = out.emplace_back();
      pair.source = text_of(line, recipe.source.fields[0], where);
      pair.target = text_of(line, recipe.source.fields[1], where);
      if (aligned) pair.alignment = links_in(text_of(line, recipe.alignment->column, where), pair, where);
    });
    return;
  }
  const std::vector<std::string>& fields = recipe.source.fields;
  const bool is_named = !std::all_of(fields.begin(), fields.end(), is_column_number);
  PairColumns columns;
  for_each_row(opened.text, opened.path(), [&](const TableRow& row) {
    const std::vector<std::string_view>& cells = row.cells;
    const std::string where = format("{}, line {}", opened.path(), row.line);
    if (row.line == 1) columns = columns_of(recipe, aligned, cells, opened.path());
    if (cells.size() < columns.last()) {
      fail(ErrorCode::kFormat, "{}: expected {} columns separated by {} (source {}, target {}{}), found \"{}\"", where, columns.last(),
           separators_of(opened.path()), columns.source, columns.target,
           columns.alignment > 0 ? format(", \"alignment.column\" {}", columns.alignment) : "", row.text);
    }
    if (row.line == 1 && (is_named || names_pair_columns(cells[columns.source - 1], cells[columns.target - 1]))) {
      if (headers) headers->emplace_back(row.text);
      return;
    }
    TextPair& pair = out.emplace_back();
    pair.source = cells[columns.source - 1];
    pair.target = cells[columns.target - 1];
    if (aligned) pair.alignment = links_in(cells[columns.alignment - 1], pair, where);
  });
}

}  // namespace

std::vector<std::vector<std::string>> read_dialogues(const std::vector<std::string>& files, const Recipe& recipe) {
  std::vector<std::vector<std::string>> out;
  for (const std::string& file : files) {
    const SourceText opened = open_text(recipe.source, file);
    for_each_json_list(opened.text, opened.path(), recipe.pairs->turns, [&](std::vector<std::string> turns) {
      for (std::string& turn : turns) turn = as_line(std::move(turn));
      out.push_back(std::move(turns));
    });
  }
  return out;
}

const std::vector<std::string>& pair_files(Part part, const Recipe& recipe) {
  const PairFiles& pairs = *recipe.pairs;
  if (part == Part::kTest) return pairs.test;
  return part == Part::kTrain || pairs.held_out > 0 ? pairs.train : pairs.valid;
}

namespace {

// All pairs of the files of a split.
std::vector<TextPair> read_files(Part part, const Recipe& recipe, bool aligned, std::vector<std::string>* headers) {
  const std::vector<std::string>& files = pair_files(part, recipe);
  std::vector<TextPair> out;
  if (recipe.pairs->turns.empty()) {
    for (const std::string& file : files) add_pairs(file, recipe, aligned, out, headers);
    return out;
  }
  int64_t dialogue = 0;
  for (const std::vector<std::string>& turns : read_dialogues(files, recipe)) {
    for (size_t at = 1; at < turns.size(); ++at)
      out.push_back({.source = joined_turns(turns, at, recipe.pairs->turns_before), .target = turns[at], .dialogue = dialogue});
    ++dialogue;
  }
  return out;
}

// A hash of the dialogue, or of the source: all pairs with the same source are in the same split.
uint64_t hash_of(const TextPair& pair, bool is_dialogue) {
  Digest digest;
  if (is_dialogue) digest.add(&pair.dialogue, sizeof pair.dialogue);
  if (!is_dialogue) digest.add(pair.source.data(), pair.source.size());
  return digest.value();
}

}  // namespace

std::vector<TextPair> read_pairs(Part part, const Recipe& recipe, bool aligned, std::vector<std::string>* headers) {
  std::vector<TextPair> all = read_files(part, recipe, aligned, headers);
  if (part == Part::kTest || recipe.pairs->held_out == 0 || all.empty()) return all;
  std::vector<uint64_t> hashes;
  for (const TextPair& pair : all) hashes.push_back(hash_of(pair, !recipe.pairs->turns.empty()));
  const std::vector<bool> is_held_out = held_out(hashes, recipe.pairs->held_out);
  std::vector<TextPair> out;
  for (size_t at = 0; at < all.size(); ++at) {
    if (is_held_out[at] == (part == Part::kValid)) out.push_back(std::move(all[at]));
  }
  return out;
}

std::vector<std::string> vocabulary_texts_of_pairs(const Recipe& recipe) {
  std::vector<std::string> out(2);
  if (!recipe.pairs->turns.empty()) {
    for (const std::vector<std::string>& turns : read_dialogues(recipe.pairs->train, recipe)) {
      for (const std::string& turn : turns) out[0] += turn + "\n";
    }
    return out;
  }
  for (const TextPair& pair : read_files(Part::kTrain, recipe, /*aligned=*/false, nullptr)) {
    out[0] += pair.source + "\n";
    out[1] += pair.target + "\n";
  }
  return out;
}

Encoding source_of(const TextPair& pair, const Recipe& recipe, const Tokenizer& tokenizer, bool* is_cut) {
  Encoding out = tokenizer.encode(pair.source);
  const bool cuts = recipe.pairs && recipe.pairs->cut && static_cast<int64_t>(out.size()) > recipe.length;
  if (is_cut) *is_cut = cuts;
  return cuts ? truncated_to(out, recipe.length) : out;
}

PairData::PairData(Part part, const Recipe& recipe, const Tokenizer& tokenizer, int32_t first)
    : part_(part), first_(first), recipe_(recipe), tokenizer_(tokenizer) {
  int64_t read = 0;
  const bool aligned = part == Part::kTrain && recipe.alignment.has_value();
  for (const TextPair& pair : read_pairs(part, recipe, aligned, &headers_)) {
    ++read;
    bool is_cut = false;
    const Encoding read_source = source_of(pair, recipe, tokenizer, &is_cut), read_target = tokenizer.encode(pair.target);
    const std::vector<int32_t>&source = read_source.ids, &target = read_target.ids;
    const bool is_empty = source.empty() || target.empty();
    const bool is_too_long = static_cast<int64_t>(std::max(source.size(), target.size())) > recipe.length;
    empty_ += is_empty ? 1 : 0;
    too_long_ += !is_empty && is_too_long ? 1 : 0;
    if (is_empty || is_too_long) continue;
    cut_ += is_cut ? 1 : 0;
    if (aligned) links_[static_cast<int64_t>(ids_.size())] = links_of_tokens(pair, read_source, read_target);
    if (recipe.noise.any()) sources_[static_cast<int64_t>(ids_.size())] = pair.source;
    pairs_.push_back({static_cast<int64_t>(ids_.size()), static_cast<int64_t>(source.size()), static_cast<int64_t>(target.size())});
    ids_.insert(ids_.end(), source.begin(), source.end());
    ids_.insert(ids_.end(), target.begin(), target.end());
  }
  if (pairs_.empty()) {
    none_ = format("{}/{}: {}", recipe.source.folder, joined_names(pair_files(part, recipe)),
                   read == 0 ? "has no pairs"
                             : format("none of its {} pairs has 1 to {} tokens on both sides (\"length\"); give a larger length",
                                      with_commas(read), with_commas(recipe.length)));
  }
  std::sort(pairs_.begin(), pairs_.end(),
            [](const Pair& a, const Pair& b) { return std::tie(a.target, a.source, a.begin) < std::tie(b.target, b.source, b.begin); });
  int64_t longest = 0;
  for (int64_t at = 0; at < static_cast<int64_t>(pairs_.size()); ++at) {
    const Pair& pair = pairs_[static_cast<size_t>(at)];
    longest = std::max({longest, pair.source, pair.target});
    if (begins_.empty() || (at + 1 - begins_.back()) * longest > recipe.max_tokens) {
      begins_.push_back(at);
      longest = std::max(pair.source, pair.target);
    }
  }
  begins_.push_back(static_cast<int64_t>(pairs_.size()));
}

DataSummary PairData::summary(const char* name) const {
  DataSummary out{
      .part = name, .files = joined_names(pair_files(part_, recipe_)), .count = static_cast<int64_t>(pairs_.size()), .of = "pairs"};
  std::vector<int64_t> sources, targets;
  for (const Pair& pair : pairs_) {
    sources.push_back(pair.source);
    targets.push_back(pair.target);
  }
  out.add_lengths("source tokens", sources);
  out.add_lengths("target tokens", targets);
  for (const std::string& header : headers_)
    out.notes.push_back(format("line 1 names the columns and was left out: {}", Json(header).dump()));
  out.note(format("pairs left out because a side has more than {} tokens (\"length\")", with_commas(recipe_.length)), too_long_);
  out.note("pairs left out because a side has no token", empty_);
  out.note(format("sources truncated to {} tokens (\"length\")", with_commas(recipe_.length)), cut_);
  return out;
}

void PairData::add_to(Digest& digest) const {
  digest.add(ids_.data(), ids_.size() * sizeof(int32_t));
  digest.add(pairs_.data(), pairs_.size() * sizeof(Pair));
  for (const Pair& pair : pairs_) {
    const auto found = links_.find(pair.begin);
    if (found != links_.end()) digest.add(found->second.data(), found->second.size() * sizeof(WordLink));
  }
}

Example PairData::shuffled(uint64_t seed, int64_t number) const {
  if (pairs_.empty()) fail(ErrorCode::kInvalidArgument, "{}", none_);
  const int64_t count = static_cast<int64_t>(begins_.size()) - 1, epoch = number / count;
  order_.open(seed, epoch, static_cast<int64_t>(pairs_.size()), count, [&](std::vector<int64_t>& pairs) {
    const auto length = [&](int64_t at) {
      const Pair& pair = pairs_[static_cast<size_t>(at)];
      return std::tie(pair.target, pair.source);
    };
    std::stable_sort(pairs.begin(), pairs.end(), [&](int64_t a, int64_t b) { return length(a) < length(b); });
  });
  const size_t batch = static_cast<size_t>(order_.batches[static_cast<size_t>(number % count)]);
  std::optional<uint64_t> noise;
  if (!sources_.empty()) noise = random_bits(random_bits(seed, kNoiseSeed), static_cast<uint64_t>(number));
  return example_of(order_.items, begins_[batch], begins_[batch + 1], noise);
}

std::vector<Example> PairData::in_order() const {
  std::vector<int64_t> order(pairs_.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::vector<Example> out;
  for (size_t batch = 0; batch + 1 < begins_.size(); ++batch) {
    if (begins_[batch] < begins_[batch + 1]) out.push_back(example_of(order, begins_[batch], begins_[batch + 1], std::nullopt));
  }
  return out;
}

std::vector<int32_t> PairData::source_ids(const Pair& pair, std::optional<uint64_t> noise) const {
  const auto from = ids_.begin() + pair.begin;
  std::vector<int32_t> clean(from, from + pair.source);
  if (!noise) return clean;
  Encoding noisy = noisy_encoding(tokenizer_, sources_.at(pair.begin), "", recipe_.noise, *noise);
  if (recipe_.pairs && recipe_.pairs->cut) noisy = truncated_to(noisy, recipe_.length);
  const bool fits = !noisy.ids.empty() && static_cast<int64_t>(noisy.size()) <= recipe_.length;
  return fits ? noisy.ids : clean;
}

GoldAlignment PairData::alignment_of(const std::vector<int64_t>& pairs, int64_t begin, int64_t end) const {
  GoldAlignment out;
  for (int64_t at = begin; at < end; ++at) {
    const std::vector<WordLink>& links = links_.at(pairs_[static_cast<size_t>(pairs[static_cast<size_t>(at)])].begin);
    for (size_t first = 0, last = 0; first < links.size(); first = last, ++out.rows) {
      while (last < links.size() && links[last].target == links[first].target) ++last;
      for (size_t link = first; link < last; ++link) {
        out.pairs.push_back({static_cast<int32_t>(at - begin), links[link].target, links[link].source});
        out.shares.push_back(1 / static_cast<float>(last - first));
      }
    }
  }
  return out;
}

Example PairData::example_of(const std::vector<int64_t>& pairs, int64_t begin, int64_t end, std::optional<uint64_t> noise) const {
  Example out;
  Batch source{.batch = end - begin};
  out.input.batch = end - begin;
  std::vector<std::vector<int32_t>> sources;
  for (int64_t at = begin; at < end; ++at) {
    const Pair& pair = pairs_[static_cast<size_t>(pairs[static_cast<size_t>(at)])];
    std::optional<uint64_t> of_row;
    if (noise) of_row = random_bits(*noise, static_cast<uint64_t>(at - begin));
    sources.push_back(source_ids(pair, of_row));
    source.length = std::max(source.length, static_cast<int64_t>(sources.back().size()));
    out.input.length = std::max(out.input.length, pair.target);
  }
  const auto pad = [](std::vector<int32_t>& values, int64_t row, int64_t length, int32_t value) {
    values.resize(static_cast<size_t>((row + 1) * length), value);
  };
  for (int64_t row = 0; row < end - begin; ++row) {
    const Pair& pair = pairs_[static_cast<size_t>(pairs[static_cast<size_t>(begin + row)])];
    const std::vector<int32_t>& read = sources[static_cast<size_t>(row)];
    const auto to = ids_.begin() + pair.begin + pair.source;
    source.ids.insert(source.ids.end(), read.begin(), read.end());
    source.lengths.push_back(static_cast<int32_t>(read.size()));
    pad(source.ids, row, source.length, first_);
    out.input.ids.push_back(first_);
    out.input.ids.insert(out.input.ids.end(), to, to + pair.target - 1);
    out.input.lengths.push_back(static_cast<int32_t>(pair.target));
    pad(out.input.ids, row, out.input.length, first_);
    out.targets.insert(out.targets.end(), to, to + pair.target);
    pad(out.targets, row, out.input.length, -100);
    out.counted += pair.target;
  }
  out.source = std::move(source);
  if (!links_.empty()) out.alignment = alignment_of(pairs, begin, end);
  return out;
}

}  // namespace clearhead::tasks
