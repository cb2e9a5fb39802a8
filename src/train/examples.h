// The data of a run as the trainer sees it: training batches by number, and validation batches.
//
//   texts   windows of one sequence of tokens (text_data.h)     for models with a causal head
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

/// Sequences of one length, padded at the end.
struct Rows {
  int64_t batch = 0, length = 0;
  std::vector<int32_t> ids{};      // [batch·length]
  std::vector<int32_t> lengths{};  // [batch]; empty: no padding
};

struct Example {
  std::optional<Rows> source{};    // input of the encoder
  Rows input{};                    // input of the causal stack
  std::vector<int32_t> targets{};  // [batch·length] the next token at each place; −100: does not count
  int64_t counted = 0;             // divisor of the sum of losses
};

class Examples {
 public:
  virtual ~Examples() = default;
  /// Part `number` of an endless sequence. It depends on the recipe and the number only.
  virtual Example part(int64_t number) const = 0;
  /// Validation batches; empty: no validation.
  virtual std::vector<Example> held() const = 0;
  /// Number of training tokens.
  virtual int64_t tokens() const = 0;
  /// A digest of all training and validation tokens and of how they are split.
  virtual std::string digest() const = 0;
  /// Bytes per token of the validation text; 0 for pairs, and without validation.
  virtual double held_bytes_per_token() const = 0;
};

/// Throws what reading the recipe's files throws, and kInvalidArgument if model and data are of different kinds
/// or sizes do not fit.
std::unique_ptr<Examples> examples_of(const Recipe& recipe, const Tokenizer& tokenizer, const Architecture& facts);
/// The texts to train a vocabulary on.
std::vector<std::string> vocabulary_texts(const Recipe& recipe);
/// The recipe's tokenizer.json, read or trained now. Throws what either throws.
std::string tokenizer_json_of(const Recipe& recipe);

}  // namespace clearhead
