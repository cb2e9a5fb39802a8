// Reads recipes from JSON: the table of fields, settings that override them, and rules that involve several fields.
#include "tasks/recipe/recipe.h"

#include <algorithm>

#include "base/file.h"
#include "base/format.h"
#include "base/text_file.h"
#include "clearhead/error.h"
#include "models/find_model.h"
#include "tasks/data/held_out.h"
#include "tasks/data/json_lines.h"
#include "tasks/recipe/task_definition.h"

namespace clearhead::tasks {

using namespace schema;  // functions that build rows

namespace {

constexpr NumberRange kDropoutRange = {0, 0.9};

Json value_of(const std::string& text) {
  try {
    return Json::parse(text, "value");
  } catch (const Error&) {
    return Json(text);
  }
}

void set(Json& json, const std::string& setting) {
  const size_t equals = setting.find('=');
  if (equals == std::string::npos || equals == 0) fail(ErrorCode::kInvalidArgument, "\"{}\": expected key=value", setting);
  Json* at = &json;
  std::string key = setting.substr(0, equals);
  for (size_t dot = key.find('.'); dot != std::string::npos; dot = key.find('.')) {
    at = &(*at)[key.substr(0, dot)];
    key = key.substr(dot + 1);
  }
  (*at)[key] = value_of(setting.substr(equals + 1));
}

// All strings in a value, at any depth.
void add_strings(const Json& value, std::vector<std::string>& to) {
  if (value.is_string()) to.push_back(value.string());
  if (value.is_array()) {
    for (const Json& item : value.items()) add_strings(item, to);
  }
  if (value.is_object()) {
    for (const auto& [name, item] : value.fields()) add_strings(item, to);
  }
}

// A dropout rate from the recipe's field, or from the equivalent fields of the model's config; all given values must agree. If the
// run starts from another model's weights, the recipe's field overrides that model's config.
double agreed_rate(const Recipe& recipe, const char* name, std::optional<double> rate, std::initializer_list<const char*> of_model) {
  if (rate && !recipe.initial.empty()) return *rate;
  std::string said_by = format("\"{}\"", name);
  for (const char* field : of_model) {
    const Json* found = recipe.model.find(field);
    if (!found || found->is_null()) continue;
    Fields model(recipe.model, recipe.where, "model");
    if (!found->is_number()) model.wrong(field, describe(kDropoutRange), *found);
    const double value = read_number(model, field, 0, kDropoutRange);
    if (rate && value != *rate) {
      fail(ErrorCode::kInvalidArgument,
           "{}: {} is {} and \"model.{}\" is {}; both set the same dropout rate: give only one of them, or equal values", recipe.where,
           said_by, *rate, field, value);
    }
    if (!rate) said_by = format("\"model.{}\"", field);
    rate = value;
  }
  return rate.value_or(0);
}

VocabularyOptions read_vocabulary(const Json& json, const std::string& where, const TaskDefinition& task) {
  Fields fields(json, where, "tokenizer");
  const bool is_bpe = json.find("bpe") != nullptr;
  if (!is_bpe) fields.require("wordpiece");
  VocabularyOptions out;
  out.kind = is_bpe ? VocabularyKind::kByteBpe : VocabularyKind::kWordPiece;
  out.size = read_integer(fields, is_bpe ? "bpe" : "wordpiece", 0, {is_bpe ? 256 : 2});
  out.lowercase = fields.boolean_or("lowercase", false);
  if (out.lowercase && !is_bpe) fields.wrong("lowercase", "false: \"wordpiece\" always converts texts to lower case", Json(true));
  if (!is_bpe) out.special = {"[UNK]"};  // no template: a window of a text has no special tokens at its start and end
  if (task.head == TrainedHead::kMasked) {
    if (is_bpe) fields.wrong("bpe", "\"wordpiece\", whose vocabulary has [MASK]", *json.find("bpe"));
    out.special = bert_special_tokens();
  }
  if (task.writes_text) {
    if (!is_bpe)
      fail(ErrorCode::kUnsupported, "{}: \"tokenizer.wordpiece\": a task that generates text needs \"bpe\" or an existing tokenizer",
           where);
    out.special = {"</s>", "<pad>"};
    out.end = "</s>";
  }
  fields.refuse_rest();
  return out;
}

const Schema<ParameterGroup>& group_schema() {
  static const Schema<ParameterGroup> schema = {
      {{"match", "a regular expression", "required",
        "searched in the names of parameters; a parameter belongs to the first group that matches"},
       [](Fields& fields, ParameterGroup& to) {
         to.match = fields.string("match");
         if (to.match.empty()) fields.wrong("match", "a regular expression", Json(to.match));
       }},
      number("learning_rate_scale", &ParameterGroup::learning_rate_scale, {0, 1000},
             "factor on the learning rate; 0 freezes the parameters"),
      optional_number("weight_decay", &ParameterGroup::weight_decay, {0, 10}, "the optimiser's", "weight decay of these parameters"),
  };
  return schema;
}

const Schema<OptimiserOptions>& optimiser_schema() {
  using Options = OptimiserOptions;
  using Kind = Options::Kind;
  const auto is_sgd = [](const Options& to) { return to.kind == Kind::kSgd; };
  const auto is_adam = [](const Options& to) { return to.kind != Kind::kSgd; };
  static const Schema<Options> schema = {
      choice("kind", &Options::kind, {{"adamw", Kind::kAdamW}, {"adam", Kind::kAdam}, {"sgd", Kind::kSgd}},
             "the update rule, as in PyTorch; adam adds weight decay to the gradient (L2)"),
      number("momentum", &Options::momentum, {0, 0.9999}, "sgd: momentum").when(is_sgd),
      {{"nesterov", "true or false", "false", "sgd: Nesterov momentum; needs \"momentum\""},
       [](Fields& fields, Options& to) {
         to.nesterov = fields.boolean_or("nesterov", false);
         if (to.nesterov && to.momentum == 0) fields.wrong("nesterov", "false without \"momentum\"", Json(true));
       },
       {},
       is_sgd},
      number("beta1", &Options::beta1, {0, 0.9999}, "adamw, adam: decay of the mean of the gradients").when(is_adam),
      number("beta2", &Options::beta2, {0, 0.999999}, "adamw, adam: decay of the mean of their squares").when(is_adam),
      number("epsilon", &Options::epsilon, {1e-12, 1}, "adamw, adam: added to the denominator").when(is_adam),
      {{"groups", "a list of objects", "none", "parameter groups"},
       [](Fields& fields, Options& to) {
         if (!fields.take("groups")) return;
         for (const Json& group : fields.items("groups"))
           to.groups.push_back(group_schema().read(group, fields.where(), "optimiser.groups"));
       },
       group_schema().describe()},
      number("weight_decay", &Options::weight_decay, {0, 10}, "weight decay of matrices, except embedding tables"),
      number("clip", &Options::clip, {0, 1e9}, "gradient clipping: the largest norm over all parameters; 0: no clipping"),
  };
  return schema;
}

const Schema<Schedule>& schedule_schema() {
  using Kind = Schedule::Kind;
  static const Schema<Schedule> schema = {
      choice("kind", &Schedule::kind,
             {{"constant", Kind::kConstant}, {"linear", Kind::kLinear}, {"cosine", Kind::kCosine}, {"noam", Kind::kNoam}},
             "how the learning rate changes after the warm-up"),
      number("learning_rate", &Schedule::learning_rate, {0, 100}, "the learning rate; noam: learning_rate·√(warmup/step)"),
      integer("warmup", &Schedule::warmup, {0}, "steps over which the rate rises linearly from 0"),
      {{"cooldown", "an integer of 0 or more", "0",
        "constant, noam: last steps, over which the rate falls linearly to \"min_ratio\" of itself"},
       [](Fields& fields, Schedule& to) {
         to.cooldown = read_integer(fields, "cooldown", 0, {0});
         if (to.cooldown > 0 && (to.kind == Kind::kLinear || to.kind == Kind::kCosine))
           fields.wrong("cooldown", "0, because a linear or cosine schedule already decays", Json(to.cooldown));
         if (to.cooldown > 0 && to.cooldown + to.warmup > to.steps)
           fields.wrong("cooldown", format("at most {}, the number of steps, together with \"warmup\"", to.steps), Json(to.cooldown));
       }},
      number("min_ratio", &Schedule::min_ratio, {0, 1}, "the rate at the end, as a share of the learning rate"),
  };
  return schema;
}

const Schema<Repeats>& repeat_schema() {
  static const Schema<Repeats> schema = {
      integer("from", &Repeats::from, {0}, "the step at which this stage begins"),
      number("probability", &Repeats::probability, {0, 1}, "share of the sequences that have such a passage").with_fallback("0.1"),
      integer("shortest", &Repeats::shortest, {1}, "smallest number of tokens in a passage"),
      {{"longest", "an integer of \"shortest\" or more", "64", "largest number of tokens in a passage"},
       [](Fields& fields, Repeats& to) { to.longest = read_integer(fields, "longest", to.longest, {to.shortest}); }},
      integer("max_distance", &Repeats::max_distance, {0},
              "maximum distance in tokens between the starts of a passage and its copy; 0: no limit"),
      boolean("repeat_to_end", &Repeats::repeat_to_end, "the passage is repeated up to the end of the sequence"),
      number("random", &Repeats::random, {0, 1}, "share of the passages that are random tokens, not text"),
  };
  return schema;
}

const Schema<WatchRecipe>& watch_schema() {
  static const Schema<WatchRecipe> schema = {
      {{"texts", "a list of strings", "required",
        "texts to trace during training, with at most 512 tokens in total; for pairs: \"source\\ttarget\""},
       [](Fields& fields, WatchRecipe& to) { to.texts = fields.strings("texts"); }},
      integer("checkpoints", &WatchRecipe::checkpoints, {1, 40}, "maximum number of traces during the run"),
  };
  return schema;
}

const Schema<PairFiles>& pair_schema() {
  const auto is_dialogue = [](const PairFiles& to) { return !to.turns.empty(); };
  static const std::vector<Field<PairFiles>> validation =
      validation_fields(&PairFiles::held_out, files("valid", &PairFiles::valid, true, "validation pairs"));
  static const Schema<PairFiles> schema = {
      files(
          "train", &PairFiles::train, true,
          "training pairs: a table (*.csv with commas, others with tabs), whose first two columns are source and target unless \"fields\" "
          "names others, or JSON lines"),
      validation[0],
      validation[1],
      files("test", &PairFiles::test, false, "test pairs, for --test"),
      {{"turns", "a string", "none", "dialogues: the field of JSON lines that is a list of turns; every turn after the first is a target"},
       [](Fields& fields, PairFiles& to) {
         if (!fields.take("turns")) return;
         to.turns = fields.string("turns");
         if (to.turns.empty()) fields.wrong("turns", "the name of the field that is a list of turns", Json(to.turns));
         for (const auto* files : {&to.train, &to.valid, &to.test}) {
           for (const std::string& file : *files) {
             if (!is_json_lines(file))
               fail(ErrorCode::kFormat, "{}: \"pairs.turns\": expected files of JSON lines (*.jsonl), found \"{}\"", fields.where(), file);
           }
         }
       }},
      integer("turns_before", &PairFiles::turns_before, {0}, "dialogues: the source of a target is at most this many turns before it")
          .when(is_dialogue),
      choice("bleu", &PairFiles::bleu, {{"13a", BleuWords::kMteval13a}, {"zh", BleuWords::kChinese}, {"char", BleuWords::kCharacters}},
             "tokenization for BLEU; char is for languages written without spaces"),
      boolean("cut", &PairFiles::cut, "true: a source of more than \"length\" tokens is truncated; false: the pair is left out"),
      choice("measure", &PairFiles::rouge, {{"bleu", false}, {"rouge", true}}, "what --test measures; rouge: also at each validation"),
      string("best", &PairFiles::best, "rouge: the metric that selects the best model: rouge_1, rouge_l or loss")
          .when([](const PairFiles& to) { return to.rouge; })
          .with_fallback("rouge_1"),
  };
  return schema;
}

const Schema<Noise>& noise_schema() {
  static const Schema<Noise> schema = {
      number("probability", &Noise::share, {0, 1}, "share of the texts that are changed"),
      number("typos", &Noise::typos, {0, 1},
             "share of the words of such a text with two letters swapped, one left out, doubled, or replaced by a neighbouring key"),
      number("upper", &Noise::upper, {0, 1}, "share of the changed texts that are converted to upper case"),
      {{"lower", "a number from 0 to 1 − \"upper\"", "0", "share of the changed texts that are converted to lower case"},
       [](Fields& fields, Noise& to) {
         to.lower = read_number(fields, "lower", 0, {0, 1 - to.upper});
       }},
      number("token_dropout", &Noise::token_dropout, {0, 0.9}, "share of the tokens of such a text that are removed"),
  };
  return schema;
}

const Schema<AlignmentRecipe>& alignment_schema() {
  static const Schema<AlignmentRecipe> schema = {
      {{"column", "a column's name or number, counted from 1", "required",
        "the column of gold alignments (\"0-0 1-2\") in the training pairs"},
       [](Fields& fields, AlignmentRecipe& to) {
         to.column = read_column(fields, "column", true);
         if (to.column == "1" || to.column == "2")
           fields.wrong("column", "a column other than those of the two texts, such as 3", Json(to.column));
       }},
      number("weight", &AlignmentRecipe::weight, {0, 1000}, "factor of this loss; 0 measures it without training on it"),
      {{"family", "an attention family in which the target attends to the source", "cross",
        "the attention family that the loss applies to"},
       [](Fields& fields, AlignmentRecipe& to) {
         to.family = fields.string_or("family", to.family);
         if (to.family == "enc" || to.family == "dec")
           fields.wrong("family", "cross, in which the target attends to the source", Json(to.family));
       }},
      {{"layer", "an integer", "-1", "the layer that the loss applies to; negative: counted from the last"},
       [](Fields& fields, AlignmentRecipe& to) { to.layer = fields.integer_or("layer", to.layer); }},
  };
  return schema;
}

const Schema<EntropyRecipe>& entropy_schema() {
  static const Schema<EntropyRecipe> schema = {
      number("weight", &EntropyRecipe::weight, {-1000, 1000}, "factor of the mean entropy in nats; a negative factor rewards high entropy"),
      string("family", &EntropyRecipe::family, "enc, dec or cross"),
      {{"layers", "a list of integers", "all", "layers that the loss applies to; negative: counted from the last"},
       [](Fields& fields, EntropyRecipe& to) {
         const Json* layers = fields.take("layers");
         if (!layers) return;
         if (!layers->is_array() || layers->size() == 0) fields.wrong("layers", "a list of layers, as in [0, -1]", *layers);
         for (const Json& layer : layers->items()) {
           if (!layer.is_integer()) fields.wrong("layers", "integers, as in [0, -1]", layer);
           to.layers.push_back(layer.integer());
         }
       }},
  };
  return schema;
}

const Schema<VectorsRecipe>& vectors_schema() {
  static const Schema<VectorsRecipe> schema = {
      required_string("from", &VectorsRecipe::from, "the other model, a folder or a name"),
      string("tensor", &VectorsRecipe::tensor, "a tensor of its file; absent: all weights of a BERT go into the encoder at \"parameter\""),
      required_string("parameter", &VectorsRecipe::parameter, "the parameter, or the path of an encoder, that starts from these values"),
      {{"deviation", "a number from 0 to 1000", "0", "scale each column to mean 0 and this standard deviation; 0: do not scale"},
       [](Fields& fields, VectorsRecipe& to) {
         to.deviation = read_number(fields, "deviation", 0, {0, 1000});
         if (to.tensor.empty() && to.deviation > 0)
           fields.wrong("deviation", "0 without \"tensor\": the weights of a whole encoder are not scaled", Json(to.deviation));
       }},
  };
  return schema;
}

// Reads "fields": required if a file is a .jsonl. Tables of pairs may have it too, for their columns; otherwise it is refused.
void read_line_fields(Fields& fields, Recipe& to) {
  std::vector<std::string> files = to.source.files;
  if (to.pairs) {
    if (!to.pairs->turns.empty()) return;  // "turns" names the field
    files = to.pairs->train;
    for (const auto* more : {&to.pairs->valid, &to.pairs->test}) files.insert(files.end(), more->begin(), more->end());
  }
  const auto found = std::find_if(files.begin(), files.end(), is_json_lines);
  const std::string expected = to.pairs ? "two names or numbers, of the source and of the target, as in [\"source\", \"target\"]"
                                        : "the name of the field that is the text, as in [\"text\"]";
  const Json* given = fields.take("fields");
  if (found == files.end() && given && !to.pairs) fields.wrong("fields", "none: no file's name ends in .jsonl", *given);
  if (found != files.end() && !given)
    fail(ErrorCode::kFormat, "{}: \"{}\" contains JSON lines: expected \"fields\", {}", to.where, *found, expected);
  if (!given) return;
  if (!given->is_array() || given->size() != (to.pairs ? 2 : 1)) fields.wrong("fields", expected, *given);
  for (const Json& name : given->items()) {
    const bool is_number = to.pairs && name.is_integer() && name.integer() > 0;
    if (!is_number && (!name.is_string() || name.string().empty())) fields.wrong("fields", expected, name);
    to.source.fields.push_back(is_number ? std::to_string(name.integer()) : name.string());
  }
}

void read_repeats(Fields& fields, Recipe& to) {
  const Json* given = fields.take("repeat");
  if (!given) return;
  for (const Json& stage : given->is_array() ? given->items() : Json::Array{*given}) {
    Fields of_stage(stage, to.where, "repeat");
    Repeats repeats{.probability = 0.1};
    repeat_schema().read(of_stage, repeats);
    of_stage.refuse_rest();
    if (!to.repeats.empty() && repeats.from <= to.repeats.back().from)
      fields.wrong("repeat", "stages in ascending order of \"from\"", *given);
    to.repeats.push_back(repeats);
  }
}

void read_noise(Fields& fields, Recipe& to) {
  const Json* given = fields.take("noise");
  if (!given) return;
  const TaskDefinition& task = definition_of(to);
  if (!task.takes_noise || !task.takes_noise(to)) {
    fail(
        ErrorCode::kUnsupported,
        "{}: \"noise\" applies only to the sources of \"pairs\" and the texts of \"task.kind\" \"classification\"; this recipe has neither",
        to.where);
  }
  to.noise = noise_schema().read(*given, to.where, "noise");
}

void read_alignment(Fields& fields, Recipe& to) {
  const Json* given = fields.take("alignment");
  if (!given) return;
  const auto refuse = [&](const char* what, const char* why) {
    fail(ErrorCode::kUnsupported, "{}: \"alignment\" cannot be combined with {}: {}", to.where, what, why);
  };
  if (!to.pairs || to.task)
    fail(ErrorCode::kUnsupported, "{}: \"alignment\" applies only to \"pairs\" for translation, without \"task\"", to.where);
  if (!to.pairs->turns.empty()) refuse("\"turns\"", "a source of several turns has no gold alignment");
  if (to.noise.any()) refuse("\"noise\"", "noise changes the words that were aligned; leave out one of the two");
  to.alignment = alignment_schema().read(*given, to.where, "alignment");
}

// Reads the tokenizer, the model, and the source of the initial weights.
void read_model(Fields& fields, Recipe& to) {
  const Json* tokenizer = fields.take("tokenizer");
  if (tokenizer && tokenizer->is_object()) {
    to.vocabulary = read_vocabulary(*tokenizer, to.where, definition_of(to));
  } else {
    to.tokenizer = fields.string_or("tokenizer", to.tokenizer);
  }
  to.initial = fields.string_or("from", "");
  if (const Json* model = fields.take("model")) {
    to.model = *model;
  } else if (to.initial.empty()) {
    fields.require("model");
  }
  if (const Json* vectors = fields.take("vectors")) to.vectors = vectors_schema().read(*vectors, to.where, "vectors");
}

void read_seed(Fields& fields, Recipe& to) {
  const int64_t seed = fields.integer_or("seed", 1);
  if (seed < 0) fields.wrong("seed", "an integer of 0 or more", Json(seed));
  to.seed = static_cast<uint64_t>(seed);
}

void read_schedule(Fields& fields, Recipe& to) {
  to.schedule.steps = to.steps;
  const Json none = Json::object(), *given = fields.take("schedule");
  Fields of_schedule(given ? *given : none, to.where, "schedule");
  schedule_schema().read(of_schedule, to.schedule);
  of_schedule.refuse_rest();
}

void read_text_files(Fields& fields, Recipe& to) {
  to.source.files = fields.strings("files");
  if (to.source.files.empty()) fields.wrong("files", "at least one file", Json::array());
  to.source.splits = fields.string_or("splits", "");
  if (to.source.splits.empty()) to.source.held_out = read_number(fields, "held_out", to.source.held_out, {0, 0.9});
}

// A row for the reference only; another row reads the field.
Schema<Recipe>::Field described(FieldDescription description, std::vector<FieldDescription> nested = {}) {
  return {std::move(description), [](Fields&, Recipe&) {}, std::move(nested)};
}

using Rows = std::vector<Schema<Recipe>::Field>;

Rows data_rows() {
  const auto is_of_files = [](const Recipe& to) { return definition_of(to).data == DataFields::kFiles; };
  const auto has_batches_of_tokens = [](const Recipe& to) { return definition_of(to).data == DataFields::kPairs; };
  const auto has_batches_of_sequences = [](const Recipe& to) { return definition_of(to).data != DataFields::kPairs; };
  return {
      {{"data", "a folder", ".", "the folder that contains the data files"},
       [](Fields& fields, Recipe& to) { to.source.folder = fields.string_or("data", "."); }},
      {{"data_source", "a string", "none", "the source of the recipe's own files, printed if one of them is missing"},
       [](Fields& fields, Recipe& to) { to.source.origin = fields.string_or("data_source", ""); }},
      object("pairs", &Recipe::pairs, pair_schema(), "pairs of texts, for an encoder-decoder or for sentence vectors"),
      {{"task", "an object", "none", "a task on labelled examples; its fields are those of the task"},
       [](Fields& fields, Recipe& to) {
         if (const Json* given = fields.take("task")) read_task(*given, to);
       }},
      Schema<Recipe>::Field{{"files", "a list of files", "required without \"pairs\" or \"task\"", "texts, joined in this order"},
                            read_text_files}
          .when(is_of_files),
      described({"splits", "a file", "none", "with \"files\": a table of the byte positions of the training, validation and test data"}),
      described({"held_out", "a number from 0 to 0.9", "0.05",
                 "with \"files\", without \"splits\": share of each file, at its end, that is used for validation"}),
      Schema<Recipe>::Field{
          {"fields", "a list of names or numbers", "required for *.jsonl files",
           "the fields of JSON lines: that of the text, or those of source and target; for tables of pairs, their columns"},
          read_line_fields}
          .when([](const Recipe& to) { return definition_of(to).data != DataFields::kTask; }),
      integer("batch", &Recipe::batch, {1}, "sequences in a batch; not with \"pairs\"")
          .when(has_batches_of_sequences)
          .with_fallback("8; 32 with \"task\""),
      integer("max_tokens", &Recipe::max_tokens, {1}, "with \"pairs\": size of a batch in tokens, padding included")
          .when(has_batches_of_tokens),
      Schema<Recipe>::Field{
          {"repeat", "an object, or a list of them", "none", "passages that are repeated in a sequence, which teaches heads to copy"},
          read_repeats,
          repeat_schema().describe()}
          .when(is_of_files),
      {{"noise", "an object", "none", "data augmentation: random changes to the training texts"}, read_noise, noise_schema().describe()},
      {{"alignment", "an object", "none", "a loss on attention maps: gold alignments of words"},
       read_alignment,
       alignment_schema().describe()},
      object("entropy", &Recipe::entropy, entropy_schema(), "a loss on attention maps: their entropy"),
  };
}

Rows model_rows() {
  return {
      {{"tokenizer", "bytes, words, a folder with a tokenizer.json, or an object", "bytes",
        "the tokenizer, or the vocabulary to train: {\"bpe\": 4000} or {\"wordpiece\": 4000}; words: a token for each different word"},
       read_model},
      described({"from", "a model's folder or name", "none",
                 "the model whose weights the run starts from; also its config and tokenizer unless given"}),
      described({"model", "an object", "required without \"from\"", "a config.json in Hugging Face's format"}),
      described({"vectors", "an object", "none", "initial values of one parameter, from another model's file"},
                vectors_schema().describe()),
  };
}

Rows training_rows() {
  const std::vector<std::pair<std::string, DType>> types = {{"f32", DType::kF32}, {"bf16", DType::kBF16}};
  return {
      integer("length", &Recipe::length, {1}, "tokens in a sequence; for pairs, the maximum on either side")
          .with_fallback("256; 128 with \"task\", except 256 for question-answering"),
      integer("accumulate", &Recipe::accumulate, {1, int64_t{1} << 20}, "batches in a step (gradient accumulation)"),
      integer("steps", &Recipe::steps, {1}, "steps of the optimiser"),
      {{"seed", "an integer of 0 or more", "1", "seed of the initial weights, the order of the data, dropout and noise"}, read_seed},
      optional_number("dropout", &Recipe::dropout, kDropoutRange, "the model's, else 0",
                      "dropout of embeddings and of each block's output"),
      optional_number("attention_dropout", &Recipe::attention_dropout, kDropoutRange, "the model's, else 0",
                      "dropout of attention weights"),
      choice("precision", &Recipe::precision, types, "bf16: linear layers and attention read operands rounded to bf16"),
      boolean("gradient_checkpointing", &Recipe::gradient_checkpointing, "keep only each layer's input for the backward pass"),
      number("smoothing", &Recipe::smoothing, {0, 0.9}, "label smoothing"),
      number("ema_decay", &Recipe::ema_decay, {0, 0.99999},
             "decay of the exponential moving average of the weights, which is validated and saved; 0: use the weights themselves"),
      choice("save", &Recipe::save, types, "type of the weights in best/"),
      {{"generation", "an object", "none", "the content of best/generation_config.json"},
       [](Fields& fields, Recipe& to) {
         if (const Json* given = fields.take("generation")) to.generation = *given;
         if (to.pairs && !to.task && !to.pairs->turns.empty()) to.generation["turns_before"] = to.pairs->turns_before;
       }},
      object("optimiser", &Recipe::optimiser, optimiser_schema(), "the optimiser"),
      {{"schedule", "an object", "constant", "the learning rate over the steps"}, read_schedule, schedule_schema().describe()},
      integer("report", &Recipe::report, {1}, "steps between reports"),
      integer("validate", &Recipe::validate, {1}, "steps between validations"),
      integer("checkpoint", &Recipe::checkpoint, {1}, "steps between checkpoints"),
      object("watch", &Recipe::watch, watch_schema(), "texts to trace during training"),
  };
}

// The rows of the data and the task come first because later defaults depend on them.
const Schema<Recipe>& recipe_schema() {
  static const Schema<Recipe> schema({data_rows(), model_rows(), training_rows()});
  return schema;
}

}  // namespace

std::vector<FieldDescription> recipe_fields() { return recipe_schema().describe(); }

Recipe Recipe::read(const std::string& path, const std::vector<std::string>& overrides) {
  const std::string bytes = read_config(path);
  Json json = Json::parse(utf8_text(bytes, path), path);
  std::vector<std::string> given;
  for (const std::string& setting : overrides) {
    set(json, setting);
    const std::string field = setting.substr(0, setting.find_first_of(".="));
    if (field == "files" || field == "splits" || field == "pairs" || field == "task")
      add_strings(value_of(setting.substr(setting.find('=') + 1)), given);
  }
  Recipe out = from(json, path);
  out.source.given_files = given;
  return with_initial_model(std::move(out));
}

Recipe with_initial_model(Recipe recipe) {
  const bool has_tokenizer = recipe.text.find("tokenizer") != nullptr;
  if (recipe.initial.empty()) {
    if (recipe.vectors && !has_tokenizer) recipe.text["tokenizer"] = recipe.tokenizer = model_directory(recipe.vectors->from);
    return recipe;
  }
  if (has_tokenizer && !recipe.model.is_null()) return recipe;
  const std::string folder = model_directory(recipe.initial);
  if (!has_tokenizer) recipe.text["tokenizer"] = recipe.tokenizer = folder;
  if (recipe.model.is_null())
    recipe.text["model"] = recipe.model = Json::parse(read_config(folder + "/config.json"), folder + "/config.json");
  return recipe;
}

Recipe Recipe::from(const Json& json, const std::string& where) {
  Fields fields(json, where);
  Recipe out;
  out.where = where;
  out.text = json;
  recipe_schema().read(fields, out);
  fields.refuse_rest();
  return out;
}

int32_t TaskRecipe::id_of(const std::string& name, const std::string& where) const {
  const auto found = std::find(labels.begin(), labels.end(), name);
  if (found != labels.end()) return static_cast<int32_t>(found - labels.begin());
  std::string known;
  for (size_t at = 0; at < std::min<size_t>(labels.size(), 20); ++at) known += (at == 0 ? "" : ", ") + Json(labels[at]).describe();
  fail(ErrorCode::kInvalidArgument, "{}: \"{}\" is a label that does not occur in the training data; expected {}{}", where, name, known,
       labels.size() > 20 ? ", ..." : "");
}

DropoutRates Recipe::dropout_rates() const {
  for (const char* name : {"activation_dropout", "encoder_layerdrop", "decoder_layerdrop"}) {
    const Json* found = model.find(name);
    if (!found || found->is_null() || (found->is_number() && found->number() == 0)) continue;
    fail(ErrorCode::kUnsupported, "{}: \"model.{}\" is {}, but training does not support it; set it to 0", where, name, found->describe());
  }
  return {agreed_rate(*this, "dropout", dropout, {"dropout", "resid_pdrop", "embd_pdrop", "hidden_dropout_prob"}),
          agreed_rate(*this, "attention_dropout", attention_dropout, {"attention_dropout", "attn_pdrop", "attention_probs_dropout_prob"})};
}

}  // namespace clearhead::tasks
