// What is to be trained, as a short file: data, model, schedule, what to report. JSON; `key=value` pairs given beside it replace fields.
//
//   { "data": "DIR", "files": ["book.txt"], "origin": "where the files come from", "held_out": 0.05,      or "splits": "splits.tsv" (text_data.h)
//                        or "pairs": {"train": "train.tsv", "valid": "valid.tsv", "test": "test.tsv"}, "places": 4096      for an encoder-decoder: two texts a line (pair_data.h)
//     "fields": ["text"],                                        of files named *.jsonl the field that is read; of pairs two, ["source", "target"] (json_lines.h)
//     "tokenizer": "bytes",                                      or a folder with a tokenizer.json, or {"bpe": 4000}, {"wordpiece": 4000}:
//                                                                that many tokens, learned from the files' training part
//     "model": { … a config.json of Hugging Face's form … },     or "from": a model (folder or name) whose weights, config and tokenizer the run begins with
//     "batch": 8, "length": 256, "accumulate": 1, "steps": 1000, "seed": 1,
//     "dropout": 0.1, "attention_dropout": 0.1, "smoothing": 0.1, "repeat": {"share": 0.1, "shortest": 8, "longest": 64}, "average": 0.999, "save": "f32",
//     "optimiser": {"kind": "adamw", "beta1": 0.9, "beta2": 0.95, "weight_decay": 0.1, "clip": 1,
//                   "groups": [{"match": "norm|bias", "learning_rate_scale": 2, "weight_decay": 0}]},
//     "precision": "f32", "gradient_checkpointing": false,
//     "schedule": {"kind": "cosine", "learning_rate": 3e-3, "warmup": 100, "min_ratio": 0.1},
//     "report": 10, "validate": 100, "checkpoint": 100,
//     "watch": {"texts": ["…"], "checkpoints": 40} }             traces of these texts (pairs: "source\ttarget") on the way: train/watch.h
//
// An unknown field is refused by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/train.h"
#include "text/train_vocabulary.h"
#include "train/text_data.h"

namespace clearhead {

struct WatchRecipe {
  std::vector<std::string> texts{};  // none: nothing is watched
  int64_t checkpoints = 40;          // at most so many traces
};

struct PairFiles {
  std::string train{}, valid{}, test{};  // test: may be empty
};

/// What is dropped in training.
struct DropoutRates {
  double residual = 0;   // of embeddings and of what each block adds
  double attention = 0;  // of the weights of attention
};

struct Recipe {
  std::string where{};  // the file, for messages
  TextSource source{};
  std::optional<PairFiles> pairs{};  // in place of the source's files
  std::string initial{};             // a model whose weights the run begins at; none: new ones
  std::string tokenizer = "bytes";
  std::optional<VocabularyOptions> vocabulary{};  // in place of `tokenizer`: to be learned
  Json model{};
  int64_t batch = 8, length = 256;  // sequences of a step's part, tokens of a sequence; of pairs: the most tokens of a side
  int64_t places = 4096;            // of a part of pairs: sequences times their length, padding included
  int64_t accumulate = 1;           // parts of a step
  int64_t steps = 1000;
  uint64_t seed = 1;
  std::optional<double> dropout{}, attention_dropout{};  // absent: as the model's own fields say
  DType precision = DType::kF32;                         // of what products and attention read in training: f32 or bf16
  bool gradient_checkpointing = false;                   // of a layer only its input is kept for the backward pass
  double smoothing = 0;                                  // of labels, in training
  std::vector<Repeats> repeats{};                        // in order of their first steps; none: nothing repeats
  double average =
      0;  // of the weights that are validated and saved: the share that a step keeps of the mean so far; 0: the weights themselves
  DType save = DType::kF32;  // of best/
  Json generation{};         // best/generation_config.json; null: there is none
  OptimiserOptions optimiser{};
  Schedule schedule{};
  int64_t report = 10, validate = 100, checkpoint = 100;  // steps between
  WatchRecipe watch{};
  Json text{};  // all of it, overrides applied: what a checkpoint remembers

  /// overrides: "schedule.learning_rate=1e-3", "data=DIR". Values are JSON where they parse as such, else strings. Throws kFormat, kUnsupported, kInvalidArgument
  /// naming the field.
  static Recipe read(const std::string& path, const std::vector<std::string>& overrides);
  static Recipe from(const Json& given, const std::string& where);
  /// By the recipe, and where it is silent by the model's own fields of Hugging Face's names. Throws kInvalidArgument where both speak and differ, kUnsupported
  /// for a kind of dropout that is not there.
  DropoutRates dropout_rates() const;
};

}  // namespace clearhead
