// Texts with labels: read from a table or JSON lines, encoded, and made into batches of similar length.
//
// An epoch shuffles all items, sorts by length within stretches of 32 batches, cuts them into batches and shuffles those: little padding, and batches that differ
// from epoch to epoch. A batch depends on the seed and its number only.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/hash.h"
#include "clearhead/tokenizer.h"
#include "models/encoded_input.h"
#include "train/epoch_order.h"
#include "train/recipe.h"
#include "train/task.h"

namespace clearhead {

/// One line of a file: its texts and its labels, and where it stands, for messages.
struct LabelledLine {
  std::string text{}, pair{};
  std::vector<std::string> labels{};  // one, unless a text may have several
  std::string where{};                // "sst_train.tsv, line 3"
  std::optional<ModelInput> input{};  // of a network that reads no text, in place of the text
};
/// What reading a file left out.
struct LeftOut {
  std::string header{};  // the first line, if it names the columns
  int64_t skipped = 0;   // lines with a label that the recipe skips
};
/// The lines of a file of the recipe's task, without those that have a label the recipe skips. Several labels of a text have commas between them in a table,
/// and are a list in JSON lines. A first line that names the columns is left out: because the recipe names columns by it, or because it
/// holds usual names, and no other line has its label. Throws kNotFound with the file and its origin, kFormat with file, line
/// and column.
std::vector<LabelledLine> read_labelled(const std::string& file, const Recipe& recipe, LeftOut* left_out = nullptr);

/// Throws kFormat, naming the line, for a class without a name, and for two classes that differ by spaces only.
void check_classes(const std::vector<LabelledLine>& lines);

struct Item;
/// Adds the labels of a line to the summary's classes.
void count_classes(const LabelledLine& line, DataSummary& summary);
/// Adds notes of what read_labelled() left out.
void note_left_out(const LeftOut& left_out, DataSummary& summary);
/// Adds notes of what a network does not read of its items (ItemTask reads them by encode_input()).
void note_unread(const std::vector<Item>& items, const NetworkFacts& network, DataSummary& summary);
/// Ids of a text, or of a pair, of at most `length` tokens: the longer text loses tokens at its end, special tokens stay.
/// is_cut: whether tokens were lost
Encoding encoded_within(const Tokenizer& tokenizer, const std::string& text, const std::string& pair, int64_t length,
                        bool* is_cut = nullptr);
Encoding within(Encoding encoding, int64_t length);

/// An input and what is to be said of it.
struct Item {
  std::vector<int32_t> ids{}, type_ids{};
  std::vector<int32_t> targets{};      // equally many of every item, or one per token
  std::vector<float> values{};         // what is to be said in numbers, equally many of every item
  int64_t number = -1;                 // by which a task knows it again; −1: it need not
  std::optional<EncodedInput> read{};  // of a network that reads no text; then there are no ids
  std::vector<int32_t> about{};        // as of Example
  std::string text{}, pair{};          // where noise is to change them in training; else empty

  int64_t size() const;  // tokens, or places that it takes
};

class ItemBatches {
 public:
  /// batch: items of a batch.   pad: the token that fills the ends.   per_token: targets are padded as tokens are
  ItemBatches(std::vector<Item> items, int64_t batch, int32_t pad, bool per_token);
  int64_t tokens() const { return tokens_; }
  bool empty() const { return items_.empty(); }
  std::vector<int64_t> sizes() const;
  /// Batches of some of the items.
  ItemBatches chosen(const std::function<bool(const Item&)>& is_chosen) const;
  void add_to(Digest& digest) const;
  /// Changes the item at a place of a batch.
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

/// The index of the largest element of each row of [rows, classes]; of equals the first.
std::vector<double> largest_of_rows(const Tensor& logits);

/// What tasks over labelled items share: their batches. A file is read when its batches are first asked for, so training
/// does not read the test file, and measuring reads no other.
class ItemTask : public Task {
 public:
  Example part(int64_t number) const override;
  std::vector<Example> held() const override { return batches(held_, files_.valid).in_order(); }
  std::vector<Example> test() const override;
  int64_t tokens() const override { return batches(training_, files_.train).tokens(); }
  std::string digest() const override;
  std::vector<DataSummary> summary() const override;
  double held_bytes_per_token() const override { return 0; }

 protected:
  /// Changes the items of training batch `number`, by the seed and the number only; empty: they stay.
  virtual ItemBatches::Renew renewal(int64_t) const { return {}; }
  const ItemBatches& training() const { return batches(training_, files_.train); }
  /// Reads the items of a file, and adds to the summary what it left out and cut, and the classes. count: of examples, if not items
  using Read = std::function<std::vector<Item>(const std::string& file, DataSummary& summary)>;
  /// read: what it refers to must outlive the task.   per_token: as of ItemBatches
  ItemTask(const Recipe& recipe, const Tokenizer& tokenizer, bool per_token, Read read);

 private:
  struct Loaded {
    ItemBatches batches;
    DataSummary summary;
  };
  const Loaded& loaded(std::optional<Loaded>& kept, const std::string& file) const;
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

/// A task with one class per token, by a token classifier. A target of −100 does not count.
class TokenTask : public ItemTask {
 public:
  Tensor loss(Run& run, const RunResult& result, const Example& example, double smoothing, double divisor) const override;
  /// The class with the largest logit, for each token.
  std::vector<double> predictions(const RunResult& result, const Example& example) const override;

 protected:
  TokenTask(const Recipe& recipe, const Tokenizer& tokenizer, Read read)
      : ItemTask(recipe, tokenizer, /*per_token=*/true, std::move(read)) {}
};

}  // namespace clearhead
