// What a run learns from, as the trainer sees it: batches by number, and those that validate.
//
//   texts   windows of one row of tokens (text_data.h)          for models with a causal head
//   pairs   sources and targets (pair_data.h)                   for encoder-decoders
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clearhead/tokenizer.h"
#include "models/architecture.h"

namespace clearhead {

struct Recipe;

/// Sequences of one length, padded at their ends.
struct Rows {
  int64_t batch = 0, length = 0;
  std::vector<int32_t> ids{};      // [batch·length]
  std::vector<int32_t> lengths{};  // [batch], or empty: all are whole
};

struct Example {
  std::optional<Rows> source{};    // what an encoder reads
  Rows input{};                    // what the causal stack reads
  std::vector<int32_t> targets{};  // [batch·length] what it is to say next; −100 does not count
  int64_t counted = 0;             // what the sum of losses is divided by
};

class Examples {
 public:
  virtual ~Examples() = default;
  /// Part `number` of the endless sequence: follows from the recipe and the number alone.
  virtual Example part(int64_t number) const = 0;
  /// Empty: nothing validates.
  virtual std::vector<Example> held() const = 0;
  /// To train on.
  virtual int64_t tokens() const = 0;
  /// Of all tokens that it trains and validates on, and how they are parted.
  virtual std::string digest() const = 0;
  /// Of what validates, where its tokens are all of a text; 0: they are not.
  virtual double held_bytes_per_token() const = 0;
};

/// Throws what reading the recipe's files throws, kInvalidArgument where the model and the data are not of one kind or sizes do not fit.
std::unique_ptr<Examples> examples_of(const Recipe& recipe, const Tokenizer& tokenizer, const Architecture& facts);
/// The texts that a vocabulary is learned from.
std::vector<std::string> vocabulary_texts(const Recipe& recipe);
/// The recipe's tokenizer.json: read, or learned now. Throws what either throws.
std::string tokenizer_json_of(const Recipe& recipe);

}  // namespace clearhead
