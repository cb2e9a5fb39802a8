// A training recipe, as a short file: data, model, schedule, reports. JSON; `key=value` overrides replace fields.
//
//   { "data": "DIR", "files": ["book.txt"], "origin": "where the files come from", "held_out": 0.05,
//                                      or "splits": "splits.tsv" (text_data.h),
//                                      or, for an encoder-decoder, two texts per line (pair_data.h):
//                                      "pairs": {"train": "train.tsv", "valid": "valid.tsv", "test": "test.tsv"},
//                                      "places": 4096; each may be a list of files, or made (made_dates.h),
//                                      or dialogues, to learn the next turn from the turns before it:
//                                      "pairs": {"train": "a.jsonl", …, "turns": "turns", "turns_before": 4},
//                                      or long texts and short ones, of which ROUGE is the measure; "cut": sources lose
//                                      what is beyond "length": "pairs": {"train": "a.jsonl", …, "cut": true,
//                                      "measure": "rouge", "best": "rouge_1"}
//                                      or, for an encoder that is fine-tuned (tasks/classify.cc, tag.cc, answer.cc):
//                                      "task": {"kind": "classify", "train": "a.tsv", "valid": "b.tsv", "test": "c.tsv",
//                                      "text": 3, "label": 2, "skip": ["-"], "best": "accuracy", "patience": 5,
//                                      "problem_type": "single_label_classification", "class_weights": "balanced"}
//                                      in place of train, valid and test: "folds": {"files": ["a.tsv"], "count": 10, "hold_out": 0},
//                                      or "passages": {"files": ["a.txt", "b.txt"], "splits": "splits.tsv", "words": 100, "names": "*"}
//                                      (tasks/parted_data.h),
//                                      or, for a network that reads pictures (tasks/picture_data.h):
//                                      "task": {"kind": "classify", "train": "a.tsv", …, "label": 1, "pictures": {"form":
//                                      "bits", "column": 2, "distort": {"shift": 2, "rotate": 10, "zoom": 0.1}}}
//                                      and, for questions about scenes made of these pictures (tasks/scene_data.h):
//                                      "scenes": {"side": 3, "train": 3000, "valid": 150, "test": 150, "questions": 6}
//                                      or, for a network that writes from a sound (tasks/transcribe.cc):
//                                      "task": {"kind": "transcribe", "table": "digits.tsv", "file": "file", "text": "digit",
//                                      "part": "split", "train": "train", "valid": "valid", "test": "test",
//                                      "speaker": "speaker", "joined": [1, 7], "tested": [3, 7]}
//                                      or, of pairs or dialogues, which belong together (tasks/match.cc):
//                                      "pairs": {…}, "task": {"kind": "match", "scale": 20, "candidates": 10}
//                                      or, for a network that chooses a sentence (tasks/summarise.h):
//                                      "task": {"kind": "summarise", "train": "a.jsonl", …, "text": "source", "label": "targets"}
//     "fields": ["text"],              the field to read from *.jsonl files; for pairs two, ["source", "target"]
//                                      (json_lines.h)
//     "tokenizer": "bytes",            or a folder with a tokenizer.json, or {"bpe": 4000}, {"wordpiece": 4000}:
//                                      this many tokens, trained on the training part of the files;
//                                      {"bpe": 4000, "lowercase": true}: texts are put into lower case
//     "model": { … a config.json in Hugging Face's form … },
//                                      or "from": a model (folder or name) whose weights, config and tokenizer the run
//                                      starts with
//     "vectors": {"from": "all-MiniLM-L6-v2", "tensor": "embeddings.word_embeddings.weight",
//                 "parameter": "embedding.weight", "deviation": 1},
//                                      one parameter starts from a tensor of another model, whose tokenizer the run has
//     "batch": 8, "length": 256, "accumulate": 1, "steps": 1000, "seed": 1,
//     "dropout": 0.1, "attention_dropout": 0.1, "smoothing": 0.1,
//     "noise": {"share": 0.5, "typos": 0.1, "upper": 0.05, "lower": 0.05, "token_dropout": 0.1},
//                                      pairs (on the source) and classify (on texts): text/noise.h
//     "alignment": {"column": 3, "weight": 0.05, "family": "cross", "layer": -1},
//                                      pairs: gold alignments "0-0 1-2" of words, of which attention learns
//     "entropy": {"weight": 0.01, "family": "cross", "layers": [5]},
//                                      both: train/map_losses.h
//     "repeat": {"share": 0.1, "shortest": 8, "longest": 64}, "average": 0.999, "save": "f32",
//     "optimiser": {"kind": "adamw", "beta1": 0.9, "beta2": 0.95, "weight_decay": 0.1, "clip": 1,
//                   "groups": [{"match": "norm|bias", "learning_rate_scale": 2, "weight_decay": 0}]},
//     "precision": "f32", "gradient_checkpointing": false,
//     "schedule": {"kind": "cosine", "learning_rate": 3e-3, "warmup": 100, "min_ratio": 0.1},
//     "report": 10, "validate": 100, "checkpoint": 100,
//     "watch": {"texts": ["…"], "checkpoints": 40} }
//                                      traces of these texts (pairs: "source\ttarget") during the run: train/watch.h
//
// An unknown field is refused by name.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "clearhead/train.h"
#include "text/bleu.h"
#include "text/noise.h"
#include "text/train_vocabulary.h"
#include "train/text_data.h"

namespace clearhead {

struct WatchRecipe {
  std::vector<std::string> texts{};  // empty: nothing is watched
  int64_t checkpoints = 40;          // at most this many traces
};

/// How far pictures are moved at random in training.
struct Distortion {
  double shift = 0;   // pixels, in each direction
  double rotate = 0;  // degrees, either way
  double zoom = 0;    // a share of the size, larger or smaller
  bool flip = false;  // left and right change places, and so do above and below, each in every other picture
  bool any() const { return shift > 0 || rotate > 0 || zoom > 0 || flip; }
};

/// How a file holds pictures.
struct PictureRecipe {
  std::string form{};    // "bits", "cifar10" or "files" (tasks/picture_data.h)
  std::string column{};  // bits and files: the table's column of pictures, counted from 1
  std::string names{};   // cifar10: a table of number and label
  Distortion distortion{};
};

/// Questions about scenes of side × side pictures that are put together (tasks/scene_data.h).
struct SceneRecipe {
  int64_t side = 3;
  int64_t shrink = 1;                      // pixels of a picture on a side of a scene's pixel
  int64_t train = 0, valid = 0, test = 0;  // scenes
  int64_t questions = 1;                   // about each scene
  int64_t fewest = 9;                      // pictures in a training scene whose other cells are empty; all: no cell is
  uint64_t seed = 1;
};

/// Sounds and their texts: a table whose first line names its columns.
struct SoundTable {
  std::string table{};
  std::string file{}, part{};  // columns: the sound's file, and its part; parts are named by TaskRecipe's train, valid and test
  std::string speaker{};       // column; sounds are joined to those of the same speaker; empty: to any
  using Count = std::array<int64_t, 2>;
  Count joined{1, 1}, tested{1, 1};  // how many sounds make an example, from … to: in training, and in strings that --test measures
};

/// Files whose lines are parted anew: one of `count` folds is held out for testing, the next one validates (tasks/parted_data.h).
struct FoldRecipe {
  std::vector<std::string> files{};
  int64_t count = 10, hold_out = 0;
  bool validates = true;  // false: the next one trains too, and the last step's model is the best
};

/// Passages of books, whose label is their book (tasks/parted_data.h).
struct PassageRecipe {
  std::vector<std::string> files{};
  std::string splits{};  // as TextSource::splits
  int64_t words = 100;   // at least, in whole sentences
  std::string names{};   // what is written in place of names; empty: they stay
};

/// What is to be learned from labelled texts, in place of files of texts and pairs.
struct TaskRecipe {
  static constexpr const char* kOneLabel = "single_label_classification";
  static constexpr const char* kManyLabels = "multi_label_classification";
  static constexpr const char* kRegression = "regression";
  std::string kind{};                    // "classify", "tag", "answer", "mask", "stories", "summarise", "transcribe" or "match"
  std::string train{}, valid{}, test{};  // test: may be empty; of folds and passages the names of the parts, kParts
  static constexpr std::array<const char*, 3> kParts = {"train", "valid", "test"};
  std::optional<FoldRecipe> folds{};        // classify
  std::optional<PassageRecipe> passages{};  // classify
  std::string text{}, pair{}, label{};      // columns of a table, counted from 1, or fields of JSON lines; pair, and label of masks: empty
  std::vector<std::string> skip{};          // classify: lines with these labels are left out
  std::string problem_type = kOneLabel;     // classify: one of the three, as Hugging Face's configs name them
  // classify, of one label: factors of the losses of texts with these labels, others 1; or such that all labels weigh alike: texts / (labels · texts with it)
  std::vector<std::pair<std::string, double>> class_weights{};
  bool balances_classes = false;
  bool shuffles_labels = false;             // classify: training texts have each other's labels, for judging explanations
  std::vector<std::string> contexts{};      // answer: files of texts that questions name; none: questions hold their text
  int64_t overlap = 64, longest = 30;       // answer: AnswerSettings, in tokens
  int64_t answerable_first = 0;             // answer: so many steps read only windows that hold the answer
  std::optional<double> threshold{};        // answer: the same; absent: the one with the best F1 on the validation file
  std::vector<std::string> labels{};        // in order of id; those of the training file unless given
  std::optional<PictureRecipe> pictures{};  // classify: pictures, in place of texts
  std::optional<SceneRecipe> scenes{};      // classify: scenes of them
  SoundTable sounds{};                      // transcribe
  double scale = 20;                        // match: factor of cosines
  int64_t candidates = 10;                  // match: among how many texts the right one is looked for in measuring
  std::string best{};                       // the metric that decides which model is best; empty: the task's first
  int64_t patience = 0;                     // validations without a better one before the run ends; 0: it goes on

  /// The id of a label. Throws kInvalidArgument with `where` for one that training does not have.
  int32_t id_of(const std::string& name, const std::string& where) const;
};

struct PairFiles {
  std::vector<std::string> train{}, valid{}, test{};  // test: may be empty
  std::string turns{};                                // dialogues: the field of JSON lines with the list of turns; empty: pairs
  int64_t turns_before = 4;                           // dialogues: the source of a turn is so many turns before it, at most
  BleuWords bleu = BleuWords::kMteval13a;             // what --test counts as words
  bool cut = false;                                   // sources of more than `length` tokens lose their end; else the pair is left out
  bool rouge = false;  // measured by ROUGE, in place of BLEU; also of what is written for the validation pairs
  std::string best{};  // rouge: the metric that decides which model is best; empty: the first
};

/// One parameter's first values: a tensor of another model's file, such as word vectors. Or those of a part: a BERT.
struct VectorsRecipe {
  std::string from{};       // the other model, a folder or a name
  std::string tensor{};     // there; empty: all that a parts::Encoder has
  std::string parameter{};  // here; of a part the path
  double deviation = 0;     // each column is given this standard deviation, and the mean 0; 0: columns stay
};

/// Guided alignment (train/map_losses.h): gold alignments of words, of which attention learns.
struct AlignmentRecipe {
  std::string column{};  // of the training pairs' table, counted from 1, or the field of JSON lines
  double weight = 0.05;
  std::string family = "cross";
  int64_t layer = -1;  // negative: counted from the end
};

/// A penalty on the entropy of attention, or where its weight is negative a reward (train/map_losses.h).
struct EntropyRecipe {
  double weight = 0.01;
  std::string family = "cross";
  std::vector<int64_t> layers{};  // as AlignmentRecipe::layer; empty: all
};

/// Dropout rates in training.
struct DropoutRates {
  double residual = 0;   // of embeddings and of what each block adds to the residual stream
  double attention = 0;  // of attention weights
};

struct Recipe {
  std::string where{};  // path of the file, for messages
  TextSource source{};
  std::optional<PairFiles> pairs{};  // used in place of the source's files
  std::optional<TaskRecipe> task{};  // in place of both; "match" takes pairs
  std::string initial{};             // a model with the initial weights; empty: new weights
  std::optional<VectorsRecipe> vectors{};
  std::string tokenizer = "bytes";
  std::optional<VocabularyOptions> vocabulary{};  // used in place of `tokenizer`: a vocabulary to be trained
  Json model{};
  // Sequences in a part of a step, and tokens in a sequence (of pairs: the maximum on a side).
  int64_t batch = 8, length = 256;
  int64_t places = 4096;   // places in a part of pairs: sequences times their length, padding included
  int64_t accumulate = 1;  // gradient accumulation: parts per step
  int64_t steps = 1000;
  uint64_t seed = 1;
  std::optional<double> dropout{}, attention_dropout{};  // absent: as in the model's config
  DType precision = DType::kF32;                         // what products and attention read in training: f32 or bf16
  bool gradient_checkpointing = false;                   // keep only each layer's input for the backward pass
  double smoothing = 0;                                  // label smoothing in training
  Noise noise{};                                         // on sources of pairs and on texts that are classified, in training
  std::optional<AlignmentRecipe> alignment{};            // of pairs
  std::optional<EntropyRecipe> entropy{};
  std::vector<Repeats> repeats{};  // ordered by first step; empty: nothing repeats
  // Exponential average of the weights that are validated and saved: the share of the average that a step keeps; 0: the
  // weights themselves.
  double average = 0;
  DType save = DType::kF32;  // dtype of best/
  Json generation{};         // best/generation_config.json; null: none
  OptimiserOptions optimiser{};
  Schedule schedule{};
  int64_t report = 10, validate = 100, checkpoint = 100;  // in steps
  WatchRecipe watch{};
  Json text{};  // the recipe with all overrides applied, as stored in checkpoints

  /// overrides: "schedule.learning_rate=1e-3", "data=DIR". A value is parsed as JSON if possible, else taken as a
  /// string. Throws kFormat, kUnsupported or kInvalidArgument, naming the field.
  static Recipe read(const std::string& path, const std::vector<std::string>& overrides);
  static Recipe from(const Json& given, const std::string& where);
  /// Dropout rates from the recipe, or else from the Hugging Face fields of the model's config. Throws kInvalidArgument
  /// if both give different rates, kUnsupported for a kind of dropout that is not implemented.
  DropoutRates dropout_rates() const;
};

}  // namespace clearhead
