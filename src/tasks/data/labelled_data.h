// Texts with labels: read from a table or JSON lines, encoded, and grouped into batches of similar length.
//
// An epoch shuffles all items, sorts them by length within stretches of 32 batches, divides them into batches and shuffles the
// batches. So there is little padding, and batches differ from epoch to epoch. A batch depends on the seed and its number only.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "clearhead/tokenizer.h"
#include "models/encoded_input.h"
#include "tasks/data/epoch_order.h"
#include "tasks/recipe/recipe.h"
#include "tasks/recipe/task.h"

namespace clearhead::tasks {

/// One line of a file: its texts and labels, and its location for messages.
struct LabelledLine {
  std::string text{}, pair{};
  std::vector<std::string> labels{};  // one, except for multi-label tasks
  std::string where{};                // "sst_train.tsv, line 3"
  std::optional<ModelInput> input{};  // used instead of `text` and `pair` if the model's input is not "text"
};
/// Counts the lines of a file that are not examples.
struct LeftOut {
  std::string header{};  // the first line, if it names the columns
  int64_t skipped = 0;   // number of lines with a label that the recipe skips
};
/// Reads a file of the recipe's task. Returns its lines, except the header and the lines with a label that the recipe skips. If a text
/// has several labels, a table separates them by commas, and JSON lines hold a list. The first line is a header if the recipe gives
/// a column by name, or if the line's cells look like column names (table_header.h). Throws kNotFound, naming the file and where to get
/// it; kFormat with file, line and column.
std::vector<LabelledLine> read_labelled(const std::string& file, const Recipe& recipe, LeftOut* left_out = nullptr);

/// Throws kFormat, naming the line, for a class without a name, and for two classes that differ by spaces only.
void check_classes(const std::vector<LabelledLine>& lines);

struct Item;
/// Adds notes about the lines that read_labelled() left out.
void note_left_out(const LeftOut& left_out, DataSummary& summary);
/// Adds notes about the parts of items that the network does not read because of its size limits (models/encoded_input.h).
void note_unread(const std::vector<Item>& items, const NetworkFacts& network, DataSummary& summary);
/// Encodes a text, or a pair, with at most `length` tokens: the longer text is truncated at its end, special tokens are kept.
/// is_cut: whether tokens were removed
Encoding encoded_within(const Tokenizer& tokenizer, const std::string& text, const std::string& pair, int64_t length,
                        bool* is_cut = nullptr);
Encoding within(Encoding encoding, int64_t length);

/// An encoded input with its targets.
struct Item {
  std::vector<int32_t> ids{}, type_ids{};
  std::vector<int32_t> targets{};      // the same number for every item, or one per token
  std::vector<float> values{};         // regression targets, the same number for every item
  int64_t number = -1;                 // the example's id; −1 if the task does not need one
  std::optional<EncodedInput> read{};  // used instead of ids and type_ids if the model's input is not "text"
  std::vector<int32_t> about{};        // metadata for metrics, as Example::about
  std::string text{}, pair{};          // kept if noise changes them in training; otherwise empty
  std::vector<std::string> labels{};   // counted in the data summary
  int64_t group = -1;                  // items of one example have the same group; −1: the item is an example

  int64_t size() const;  // in tokens, or in positions of a network's input
  /// A hash of the group, or of the source if there is one, else of the input.
  uint64_t hash() const;
};

class ItemBatches {
 public:
  /// batch: number of items in a batch.   pad: the padding token.   per_token: targets are padded like tokens
  ItemBatches(std::vector<Item> items, int64_t batch, int32_t pad, bool per_token);
  int64_t tokens() const { return tokens_; }
  bool empty() const { return items_.empty(); }
  std::vector<int64_t> sizes() const;
  /// Batches of some of the items.
  ItemBatches chosen(const std::function<bool(const Item&)>& is_chosen) const;
  void add_to(Digest& digest) const;
  /// Changes the item at an index of a batch.
  using Renew = std::function<void(Item&, int64_t place)>;
  /// Batch `number` of the endless sequence. Throws kInvalidArgument if there are no items.
  Example shuffled(uint64_t seed, int64_t number, const Renew& renew = {}) const;
  /// Every item once, sorted by length.
  std::vector<Example> in_order() const;

 private:
  void sort_by_length(std::vector<int64_t>::iterator begin, std::vector<int64_t>::iterator end) const;
  std::vector<const Item*> items_between(const std::vector<int64_t>& order, int64_t begin, int64_t end) const;
  Example example_of(const std::vector<const Item*>& items) const;
  std::vector<Item> items_;
  int64_t batch_, tokens_ = 0;
  int32_t pad_;
  bool per_token_;
  mutable EpochOrder order_{};
};

/// The argmax of each row of [rows, classes]; the first of equal elements.
std::vector<double> largest_of_rows(const Tensor& logits);

/// Base class of tasks on labelled items, which makes their batches. A file is read when its batches are first needed, so training
/// does not read the test file, and --test reads only the test file.
class ItemTask : public Task {
 public:
  Example batch(int64_t number) const override;
  std::vector<Example> validation_batches() const override { return batches(held_, files_.valid).in_order(); }
  std::vector<Example> test() const override;
  int64_t tokens() const override { return batches(training_, files_.train).tokens(); }
  std::string digest() const override;
  std::vector<DataSummary> summary() const override;
  double held_bytes_per_token() const override { return 0; }

 protected:
  /// A function that changes the items of training batch `number`, depending only on the seed and the number; empty: no change.
  virtual ItemBatches::Renew renewal(int64_t) const { return {}; }
  const ItemBatches& training() const { return batches(training_, files_.train); }
  /// Reads the items of a file, and adds notes about skipped and truncated examples to the summary. It sets the summary's count if an
  /// example is not one item.
  using Read = std::function<std::vector<Item>(const std::string& file, DataSummary& summary)>;
  /// read: objects that it refers to must outlive the task.   per_token: as for ItemBatches
  ItemTask(const Recipe& recipe, const Tokenizer& tokenizer, bool per_token, Read read);

 private:
  struct Loaded {
    ItemBatches batches;
    DataSummary summary;
  };
  const Loaded& loaded(std::optional<Loaded>& kept, const std::string& file) const;
  Loaded loaded_of(std::vector<Item> items, DataSummary summary) const;
  /// Reads the training file and splits its items for training and validation.
  void load_split() const;
  const ItemBatches& batches(std::optional<Loaded>& kept, const std::string& file) const { return loaded(kept, file).batches; }
  DataSummary summary_of(const char* part, const std::string& file, const Loaded& of) const;
  const TaskRecipe& files_;
  uint64_t seed_;
  std::string where_;
  int64_t batch_;
  int32_t pad_;
  bool per_token_;
  Read read_;
  mutable std::optional<Loaded> training_{}, held_{}, test_{};
};

/// A task that trains a token classifier: one class per token. A target of −100 is ignored.
class TokenTask : public ItemTask {
 public:
  Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const override;
  /// The class with the largest logit, for each token.
  std::vector<double> predictions(const RunResult& result, const Example& example) const override;

 protected:
  TokenTask(const Recipe& recipe, const Tokenizer& tokenizer, Read read)
      : ItemTask(recipe, tokenizer, /*per_token=*/true, std::move(read)) {}
};

}  // namespace clearhead::tasks
