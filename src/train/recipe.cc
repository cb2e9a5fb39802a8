// Recipes from JSON, every field read or refused by name; key=value settings; names of earlier versions renamed on the way in.
#include "train/recipe.h"

#include <algorithm>
#include <tuple>

#include "base/file.h"
#include "base/format.h"
#include "base/text_file.h"
#include "clearhead/error.h"
#include "models/find_model.h"
#include "train/json_lines.h"

namespace clearhead {
namespace {

Json value_of(const std::string& text) {
  try {
    return Json::parse(text, "value");
  } catch (const Error&) {
    return Json(text);
  }
}

// Fields that recipes of earlier versions have under other names, in recipes, checkpoints and settings alike.
struct Renamed {
  std::string_view part, earlier, name;
};
constexpr Renamed kRenamed[] = {
    {"schedule", "rate", "learning_rate"}, {"schedule", "floor", "min_ratio"}, {"optimiser", "decay", "weight_decay"}};
constexpr Renamed kRenamedInGroups[] = {{"groups", "rate", "learning_rate_scale"}, {"groups", "decay", "weight_decay"}};

void rename(Json* object, const Renamed& field, const std::string& where) {
  const Json* given = object ? object->find(field.earlier) : nullptr;
  if (!given) return;
  if (object->find(field.name)) {
    fail(ErrorCode::kFormat, "{}: \"{}.{}\" is an earlier name of \"{}\", which is given, too; leave one of them out", where, field.part,
         field.earlier, field.name);
  }
  for (auto& [name, value] : object->fields()) {
    if (name == field.earlier) name = std::string(field.name);
  }
}

Json with_present_names(Json json, const std::string& where) {
  const auto part = [](Json& of, std::string_view name) -> Json* { return of.find(name) ? &of[name] : nullptr; };
  for (const Renamed& field : kRenamed) rename(part(json, field.part), field, where);
  Json* optimiser = part(json, "optimiser");
  Json* groups = optimiser ? part(*optimiser, "groups") : nullptr;
  if (!groups || !groups->is_array()) return json;
  for (Json& group : groups->items()) {
    for (const Renamed& field : kRenamedInGroups) rename(&group, field, where);
  }
  return json;
}

std::string with_present_name(const std::string& setting) {
  for (const Renamed& field : kRenamed) {
    const std::string earlier = format("{}.{}=", field.part, field.earlier);
    if (setting.starts_with(earlier)) return format("{}.{}={}", field.part, field.name, setting.substr(earlier.size()));
  }
  return setting;
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

// At most 2⁴⁰, so that sums of a few do not overflow.
int64_t at_least(Fields& fields, const char* name, int64_t otherwise, int64_t least) {
  const int64_t value = fields.integer_or(name, otherwise);
  if (value < least) fields.wrong(name, format("an integer of {} or more", least), Json(value));
  constexpr int64_t kMost = int64_t{1} << 40;
  if (value > kMost) fields.wrong(name, format("an integer of at most {}", with_commas(kMost)), Json(value));
  return value;
}

double between(Fields& fields, const char* name, double otherwise, double least, double most) {
  const double value = fields.number_or(name, otherwise);
  if (!(value >= least && value <= most)) fields.wrong(name, format("a number from {} to {}", least, most), Json(value));
  return value;
}

DType f32_or_bf16(Fields& fields, const char* name) {
  const std::string dtype = fields.string_or(name, "f32");
  if (dtype != "f32" && dtype != "bf16") fields.wrong(name, "f32 or bf16", Json(dtype));
  return dtype == "bf16" ? DType::kBF16 : DType::kF32;
}

std::optional<double> optional_rate(Fields& fields, const char* name) {
  const Json* given = fields.take(name);
  if (!given) return std::nullopt;
  if (!given->is_number() || !(given->number() >= 0 && given->number() <= 0.9)) fields.wrong(name, "a number from 0 to 0.9", *given);
  return given->number();
}

// A rate by the recipe's field, or by the model's fields that mean the same; all that are there agree. The fields of a model that the run starts
// from are not the recipe's: its own go before them.
double agreed_rate(const Recipe& recipe, const char* name, std::optional<double> rate, std::initializer_list<const char*> of_model) {
  if (rate && !recipe.initial.empty()) return *rate;
  std::string said_by = format("\"{}\"", name);
  for (const char* field : of_model) {
    const Json* found = recipe.model.find(field);
    if (!found || found->is_null()) continue;
    Fields model(recipe.model, recipe.where, "model");
    const double value = *optional_rate(model, field);
    if (rate && value != *rate) {
      fail(ErrorCode::kInvalidArgument, "{}: {} is {} and \"model.{}\" is {}; both are the rate of one dropout: give one, or the same",
           recipe.where, said_by, *rate, field, value);
    }
    if (!rate) said_by = format("\"model.{}\"", field);
    rate = value;
  }
  return rate.value_or(0);
}

VocabularyOptions read_vocabulary(const Json& json, const std::string& where, bool ends_texts) {
  Fields fields(json, where, "tokenizer");
  const bool is_bpe = json.find("bpe") != nullptr;
  if (!is_bpe) fields.require("wordpiece");
  VocabularyOptions out;
  out.kind = is_bpe ? VocabularyKind::kByteBpe : VocabularyKind::kWordPiece;
  out.size = at_least(fields, is_bpe ? "bpe" : "wordpiece", 0, is_bpe ? 256 : 2);
  out.lowercase = fields.boolean_or("lowercase", false);
  if (out.lowercase && !is_bpe) fields.wrong("lowercase", "false: \"wordpiece\" always puts texts into lower case", Json(true));
  if (!is_bpe) out.special = {"[UNK]"};  // no template: a window of the text has neither a begin nor an end
  if (ends_texts) {
    if (!is_bpe)
      fail(ErrorCode::kUnsupported, "{}: \"tokenizer.wordpiece\": what is written is learned with \"bpe\", or a tokenizer that is there",
           where);
    out.special = {"</s>", "<pad>"};
    out.end = "</s>";
  }
  fields.refuse_rest();
  return out;
}

ParameterGroup read_group(const Json& json, const std::string& where) {
  Fields fields(json, where, "optimiser.groups");
  ParameterGroup out;
  out.match = fields.string("match");
  if (out.match.empty()) fields.wrong("match", "a regular expression", Json(out.match));
  out.learning_rate_scale = between(fields, "learning_rate_scale", out.learning_rate_scale, 0, 1000);
  if (json.find("weight_decay")) out.weight_decay = between(fields, "weight_decay", 0, 0, 10);
  fields.refuse_rest();
  return out;
}

// Fields of another kind are not understood.
OptimiserOptions read_optimiser(const Json& json, const std::string& where) {
  using Kind = OptimiserOptions::Kind;
  Fields fields(json, where, "optimiser");
  OptimiserOptions out;
  const std::string kind = fields.string_or("kind", "adamw");
  if (kind == "sgd") {
    out.kind = Kind::kSgd;
    out.momentum = between(fields, "momentum", out.momentum, 0, 0.9999);
    out.nesterov = fields.boolean_or("nesterov", false);
    if (out.nesterov && out.momentum == 0) fields.wrong("nesterov", "false without \"momentum\"", Json(true));
  } else {
    if (kind != "adamw" && kind != "adam") fields.wrong("kind", "adamw, adam or sgd", Json(kind));
    out.kind = kind == "adam" ? Kind::kAdam : Kind::kAdamW;
    out.beta1 = between(fields, "beta1", out.beta1, 0, 0.9999);
    out.beta2 = between(fields, "beta2", out.beta2, 0, 0.999999);
    out.epsilon = between(fields, "epsilon", out.epsilon, 1e-12, 1);
  }
  if (json.find("groups")) {
    for (const Json& group : fields.items("groups")) out.groups.push_back(read_group(group, where));
  }
  out.weight_decay = between(fields, "weight_decay", out.weight_decay, 0, 10);
  out.clip = between(fields, "clip", out.clip, 0, 1e9);
  fields.refuse_rest();
  return out;
}

Schedule read_schedule(const Json& json, const std::string& where, int64_t steps) {
  Fields fields(json, where, "schedule");
  Schedule out;
  const std::string kind = fields.string_or("kind", "constant");
  if (kind == "linear") {
    out.kind = Schedule::Kind::kLinear;
  } else if (kind == "cosine") {
    out.kind = Schedule::Kind::kCosine;
  } else if (kind == "noam") {
    out.kind = Schedule::Kind::kNoam;
  } else if (kind != "constant") {
    fields.wrong("kind", "constant, linear, cosine or noam", Json(kind));
  }
  out.learning_rate = between(fields, "learning_rate", out.learning_rate, 0, 100);
  out.warmup = at_least(fields, "warmup", 0, 0);
  out.cooldown = at_least(fields, "cooldown", 0, 0);
  if (out.cooldown > 0 && (kind == "linear" || kind == "cosine"))
    fields.wrong("cooldown", "none: a linear or cosine rate falls by itself", Json(out.cooldown));
  if (out.cooldown > 0 && out.cooldown + out.warmup > steps)
    fields.wrong("cooldown", format("with the warm-up at most {}, the steps", steps), Json(out.cooldown));
  out.steps = steps;
  out.min_ratio = between(fields, "min_ratio", 0, 0, 1);
  fields.refuse_rest();
  return out;
}

Repeats read_repeats(const Json& json, const std::string& where) {
  Fields fields(json, where, "repeat");
  Repeats out;
  out.from = at_least(fields, "from", 0, 0);
  out.share = between(fields, "share", 0.1, 0, 1);
  out.shortest = at_least(fields, "shortest", out.shortest, 1);
  out.longest = at_least(fields, "longest", out.longest, out.shortest);
  out.apart = at_least(fields, "apart", 0, 0);
  out.fills = fields.boolean_or("fills", false);
  out.random = between(fields, "random", out.random, 0, 1);
  fields.refuse_rest();
  return out;
}

WatchRecipe read_watch(const Json& json, const std::string& where) {
  Fields fields(json, where, "watch");
  WatchRecipe out;
  out.texts = fields.strings("texts");
  out.checkpoints = at_least(fields, "checkpoints", out.checkpoints, 1);
  if (out.checkpoints > 40) fields.wrong("checkpoints", "at most 40", Json(out.checkpoints));
  fields.refuse_rest();
  return out;
}

// A name, or a list of names.
std::vector<std::string> names_of(Fields& fields, const char* name, bool is_needed) {
  const Json* given = is_needed ? &fields.require(name) : fields.take(name);
  if (!given) return {};
  std::vector<std::string> out;
  for (const Json& file : given->is_array() ? given->items() : Json::Array{*given}) {
    if (!file.is_string() || file.string().empty()) fields.wrong(name, "a file, or a list of files", *given);
    out.push_back(file.string());
  }
  return out;
}

// A dialogue is read from JSON lines; the saved model says how many turns it reads.
void read_turns(const Json& json, const std::string& where, Fields& fields, PairFiles& to) {
  if (!json.find("turns")) return;
  to.turns = fields.string("turns");
  if (to.turns.empty()) fields.wrong("turns", "the name of the field that is a list of turns", Json(to.turns));
  to.turns_before = at_least(fields, "turns_before", to.turns_before, 0);
  for (const auto* files : {&to.train, &to.valid, &to.test}) {
    for (const std::string& file : *files) {
      if (!is_json_lines(file))
        fail(ErrorCode::kFormat, "{}: \"pairs.turns\": expected files of JSON lines (*.jsonl), found \"{}\"", where, file);
    }
  }
}

PairFiles read_pair_files(const Json& json, const std::string& where) {
  Fields fields(json, where, "pairs");
  PairFiles out;
  out.train = names_of(fields, "train", true);
  out.valid = names_of(fields, "valid", true);
  out.test = names_of(fields, "test", false);
  read_turns(json, where, fields, out);
  const std::string words = fields.string_or("bleu", "13a");
  const std::optional<BleuWords> known = bleu_words_named(words);
  if (!known) fields.wrong("bleu", "13a, zh or char", Json(words));
  out.bleu = *known;
  out.cut = fields.boolean_or("cut", false);
  const std::string measure = fields.string_or("measure", "bleu");
  if (measure != "bleu" && measure != "rouge") fields.wrong("measure", "bleu or rouge", Json(measure));
  out.rouge = measure == "rouge";
  if (out.rouge) out.best = fields.string_or("best", "");
  fields.refuse_rest();
  return out;
}

// A column, counted from 1, or a field's name.
std::string column(Fields& fields, const char* name, bool is_needed) {
  const Json* given = is_needed ? &fields.require(name) : fields.take(name);
  if (!given) return "";
  if (given->is_string() && !given->string().empty()) return given->string();
  if (!given->is_integer() || given->integer() < 1) fields.wrong(name, "a column, counted from 1, or the name of a field", *given);
  return std::to_string(given->integer());
}

SoundTable::Count read_count(Fields& fields, const char* name, const SoundTable::Count& otherwise) {
  const Json* given = fields.take(name);
  if (!given) return otherwise;
  const bool is_pair = given->is_array() && given->size() == 2 && given->items()[0].is_integer() && given->items()[1].is_integer();
  const SoundTable::Count out =
      is_pair ? SoundTable::Count{given->items()[0].integer(), given->items()[1].integer()} : SoundTable::Count{0, 0};
  if (out[0] < 1 || out[1] < out[0] || out[1] > 100) fields.wrong(name, "how many sounds are joined, from and to, as in [1, 7]", *given);
  return out;
}

SoundTable read_sound_table(Fields& fields) {
  SoundTable out{.table = fields.string("table"), .file = fields.string("file"), .part = fields.string("part")};
  out.speaker = fields.string_or("speaker", "");
  out.joined = read_count(fields, "joined", out.joined);
  out.tested = read_count(fields, "tested", out.joined);
  return out;
}

void read_problem(Fields& fields, TaskRecipe& to) {
  to.problem_type = fields.string_or("problem_type", to.problem_type);
  const bool is_known = to.problem_type == to.kOneLabel || to.problem_type == to.kManyLabels || to.problem_type == to.kRegression;
  if (!is_known) fields.wrong("problem_type", format("{}, {} or {}", to.kOneLabel, to.kManyLabels, to.kRegression), Json(to.problem_type));
  to.shuffles_labels = fields.boolean_or("shuffle_labels", false);
  const Json* weights = fields.take("class_weights");
  if (!weights) return;
  const std::string expected = "\"balanced\", or a weight above 0 of each label that has not 1, as in {\"rare\": 5}";
  if (to.problem_type != to.kOneLabel) fields.wrong("class_weights", format("none: \"problem_type\" is {}", to.problem_type), *weights);
  to.balances_classes = weights->is_string() && weights->string() == "balanced";
  if (to.balances_classes) return;
  if (!weights->is_object()) fields.wrong("class_weights", expected, *weights);
  for (const auto& [label, weight] : weights->fields()) {
    if (!weight.is_number() || !(weight.number() > 0 && weight.number() <= 1e6)) fields.wrong("class_weights", expected, weight);
    to.class_weights.emplace_back(label, weight.number());
  }
}

Distortion read_distortion(const Json& json, const std::string& where) {
  Fields fields(json, where, "task.pictures.distort");
  Distortion out;
  out.shift = between(fields, "shift", 0, 0, 4096);
  out.rotate = between(fields, "rotate", 0, 0, 180);
  out.zoom = between(fields, "zoom", 0, 0, 0.5);
  out.flip = fields.boolean_or("flip", false);
  fields.refuse_rest();
  return out;
}

PictureRecipe read_picture_recipe(const Json& json, const std::string& where) {
  Fields fields(json, where, "task.pictures");
  PictureRecipe out{.form = fields.string("form")};
  if (out.form == "cifar10") {
    out.names = fields.string("names");
  } else if (out.form == "bits" || out.form == "files") {
    out.column = column(fields, "column", true);
  } else {
    fields.wrong("form", "bits, cifar10 or files", Json(out.form));
  }
  if (const Json* distortion = fields.take("distort")) out.distortion = read_distortion(*distortion, where);
  fields.refuse_rest();
  return out;
}

SceneRecipe read_scenes(const Json& json, const std::string& where) {
  Fields fields(json, where, "task.scenes");
  SceneRecipe out;
  out.side = at_least(fields, "side", out.side, 2);
  if (out.side > 5) fields.wrong("side", "a whole number from 2 to 5", Json(out.side));
  out.shrink = at_least(fields, "shrink", out.shrink, 1);
  for (const auto& [name, count] :
       {std::pair{"train", &out.train}, {"valid", &out.valid}, {"test", &out.test}, {"questions", &out.questions}})
    *count = at_least(fields, name, 1, 1);
  out.fewest = at_least(fields, "fewest", out.side * out.side, 1);
  if (out.fewest > out.side * out.side)
    fields.wrong("fewest", format("at most {}, the cells of a scene", out.side * out.side), Json(out.fewest));
  out.seed = static_cast<uint64_t>(at_least(fields, "seed", 1, 0));
  fields.refuse_rest();
  return out;
}

std::vector<std::string> some_files(Fields& fields) {
  std::vector<std::string> files = fields.strings("files");
  if (files.empty()) fields.wrong("files", "at least one file", Json::array());
  return files;
}

FoldRecipe read_folds(const Json& json, const std::string& where) {
  Fields fields(json, where, "task.folds");
  FoldRecipe out{.files = some_files(fields)};
  out.count = at_least(fields, "count", out.count, 3);
  out.hold_out = at_least(fields, "hold_out", out.hold_out, 0);
  if (out.hold_out >= out.count) fields.wrong("hold_out", format("a fold from 0 to {}", out.count - 1), Json(out.hold_out));
  out.validates = fields.boolean_or("validate", true);
  fields.refuse_rest();
  return out;
}

PassageRecipe read_passages(const Json& json, const std::string& where) {
  Fields fields(json, where, "task.passages");
  PassageRecipe out{.files = some_files(fields), .splits = fields.string("splits")};
  out.words = at_least(fields, "words", out.words, 1);
  out.names = fields.string_or("names", "");
  fields.refuse_rest();
  return out;
}

// Files by name, or files that are parted here.
void read_parts(Fields& fields, const std::string& where, TaskRecipe& to) {
  const bool may_part = to.kind == "classify";
  if (const Json* folds = may_part ? fields.take("folds") : nullptr) to.folds = read_folds(*folds, where);
  if (const Json* passages = may_part ? fields.take("passages") : nullptr) to.passages = read_passages(*passages, where);
  if (to.folds && to.passages) fields.wrong("folds", "none: \"passages\" has parts of its own", Json("folds"));
  if (to.folds || to.passages) {
    std::tie(to.train, to.valid, to.test) = std::tuple(to.kParts[0], to.kParts[1], to.kParts[2]);
    return;
  }
  to.train = fields.string("train");
  to.valid = fields.string("valid");
  to.test = fields.string_or("test", "");
}

TaskRecipe read_task(const Json& json, const std::string& where, bool has_pairs) {
  Fields fields(json, where, "task");
  TaskRecipe out;
  out.kind = fields.string("kind");
  const auto is = [&](const char* kind) { return out.kind == kind; };
  constexpr const char* kKinds[] = {"classify", "tag", "answer", "mask", "stories", "summarise", "transcribe", "match"};
  if (std::none_of(std::begin(kKinds), std::end(kKinds), is))
    fields.wrong("kind", "classify, tag, answer, mask, stories, summarise, transcribe or match", Json(out.kind));
  if (is("match") != has_pairs)
    fields.wrong("kind", has_pairs ? "match, beside \"pairs\"" : "another kind, or \"pairs\" beside it", Json(out.kind));
  if (is("match")) {
    out.scale = between(fields, "scale", out.scale, 0.01, 1000);
    out.candidates = at_least(fields, "candidates", out.candidates, 2);
  } else {
    read_parts(fields, where, out);
  }
  if (is("mask")) out.text = column(fields, "text", true);
  if (is("summarise")) {
    out.text = fields.string("text");
    out.label = fields.string("label");
  }
  if (is("classify")) {
    if (const Json* pictures = fields.take("pictures")) {
      out.pictures = read_picture_recipe(*pictures, where);
      if (const Json* scenes = fields.take("scenes")) out.scenes = read_scenes(*scenes, where);
      if (out.folds || out.passages) fields.wrong("pictures", "none: \"folds\" and \"passages\" are of texts", *pictures);
    } else if (!out.passages) {
      out.text = column(fields, "text", true);
      out.pair = column(fields, "pair", false);
    }
    const bool is_labelled = !out.passages && (!out.pictures || out.pictures->form != "cifar10");
    if (is_labelled) out.label = column(fields, "label", true);
    if (json.find("skip")) out.skip = fields.strings("skip");
    read_problem(fields, out);
  }
  if (is("answer")) {
    if (json.find("contexts")) out.contexts = fields.strings("contexts");
    out.overlap = at_least(fields, "overlap", out.overlap, 0);
    out.longest = at_least(fields, "longest", out.longest, 1);
    out.answerable_first = at_least(fields, "answerable_first", 0, 0);
    if (json.find("threshold")) out.threshold = fields.number("threshold");
  }
  if (out.kind == "transcribe") {
    out.text = fields.string("text");
    out.sounds = read_sound_table(fields);
  }
  if (json.find("labels")) out.labels = fields.strings("labels");
  out.best = fields.string_or("best", "");
  out.patience = at_least(fields, "patience", 0, 0);
  fields.refuse_rest();
  return out;
}

void read_files(Fields& fields, TextSource& to) {
  to.files = fields.strings("files");
  if (to.files.empty()) fields.wrong("files", "at least one file", Json::array());
  to.splits = fields.string_or("splits", "");
  if (to.splits.empty()) to.held_out = between(fields, "held_out", to.held_out, 0, 0.9);
}

// Which fields of JSON lines are read: there where a file has them, and nowhere else.
void read_line_fields(Fields& fields, Recipe& to) {
  std::vector<std::string> files = to.source.files;
  if (to.pairs) {
    if (!to.pairs->turns.empty()) return;  // which name their field themselves
    files = to.pairs->train;
    for (const auto* more : {&to.pairs->valid, &to.pairs->test}) files.insert(files.end(), more->begin(), more->end());
  }
  const auto found = std::find_if(files.begin(), files.end(), is_json_lines);
  const std::string expected = to.pairs ? "two names, of the source and of the target, as in [\"source\", \"target\"]"
                                        : "the name of the field that is the text, as in [\"text\"]";
  const Json* given = fields.take("fields");
  if (found == files.end()) {
    if (given) fields.wrong("fields", "none: no file's name ends in .jsonl", *given);
    return;
  }
  if (!given) fail(ErrorCode::kFormat, "{}: \"{}\" holds JSON lines: expected \"fields\", {}", to.where, *found, expected);
  if (!given->is_array() || given->size() != (to.pairs ? 2 : 1)) fields.wrong("fields", expected, *given);
  for (const Json& name : given->items()) {
    if (!name.is_string()) fields.wrong("fields", expected, name);
    to.source.fields.push_back(name.string());
  }
}

// The data, and what depends on its kind.
void read_data(Fields& fields, Recipe& to) {
  if (const Json* pairs = fields.take("pairs")) {
    to.pairs = read_pair_files(*pairs, to.where);
  }
  if (const Json* task = fields.take("task")) {
    to.task = read_task(*task, to.where, to.pairs.has_value());
    to.batch = at_least(fields, "batch", 32, 1);
    to.length = to.task->kind == "answer" ? 256 : 128;
  } else if (to.pairs) {
    to.places = at_least(fields, "places", to.places, 1);
  } else {
    read_files(fields, to.source);
    to.batch = at_least(fields, "batch", to.batch, 1);
    if (const Json* repeat = fields.take("repeat")) {
      const Json::Array stages = repeat->is_array() ? repeat->items() : Json::Array{*repeat};
      for (const Json& stage : stages) {
        to.repeats.push_back(read_repeats(stage, to.where));
        if (to.repeats.size() > 1 && to.repeats.back().from <= to.repeats[to.repeats.size() - 2].from)
          fields.wrong("repeat", "stages whose \"from\" ascends", *repeat);
      }
    }
  }
  if (!to.task || to.pairs) read_line_fields(fields, to);
}

Noise read_noise(const Json& json, const Recipe& recipe) {
  const bool is_read = recipe.task ? recipe.task->kind == "classify" && !recipe.task->pictures : recipe.pairs.has_value();
  if (!is_read) {
    fail(ErrorCode::kUnsupported,
         "{}: \"noise\" changes the sources of \"pairs\" and the texts of \"task.kind\" \"classify\"; this recipe has neither",
         recipe.where);
  }
  Fields fields(json, recipe.where, "noise");
  Noise out;
  out.share = between(fields, "share", out.share, 0, 1);
  out.typos = between(fields, "typos", 0, 0, 1);
  out.upper = between(fields, "upper", 0, 0, 1);
  out.lower = between(fields, "lower", 0, 0, 1 - out.upper);
  out.token_dropout = between(fields, "token_dropout", 0, 0, 0.9);
  fields.refuse_rest();
  return out;
}

AlignmentRecipe read_alignment(const Json& json, const Recipe& recipe) {
  const auto refuse = [&](const char* what, const char* why) {
    fail(ErrorCode::kUnsupported, "{}: \"alignment\" beside {}: {}", recipe.where, what, why);
  };
  if (!recipe.pairs || recipe.task)
    fail(ErrorCode::kUnsupported, "{}: \"alignment\" is of the words of \"pairs\" that are translated; this recipe has none", recipe.where);
  if (!recipe.pairs->turns.empty()) refuse("\"turns\"", "a source of several turns has no alignment of its own");
  if (recipe.noise.any()) refuse("\"noise\"", "what noise changes is no longer what was aligned; leave out one of them");
  Fields fields(json, recipe.where, "alignment");
  AlignmentRecipe out{.column = column(fields, "column", true)};
  if (out.column == "1" || out.column == "2") fields.wrong("column", "a column behind the two texts, as in 3", Json(out.column));
  out.weight = between(fields, "weight", out.weight, 0, 1000);
  out.family = fields.string_or("family", out.family);
  if (out.family == "enc" || out.family == "dec") fields.wrong("family", "cross, in which a target sees its source", Json(out.family));
  out.layer = fields.integer_or("layer", out.layer);
  fields.refuse_rest();
  return out;
}

EntropyRecipe read_entropy(const Json& json, const Recipe& recipe) {
  Fields fields(json, recipe.where, "entropy");
  EntropyRecipe out;
  out.weight = between(fields, "weight", out.weight, -1000, 1000);
  out.family = fields.string_or("family", out.family);
  if (const Json* layers = fields.take("layers")) {
    if (!layers->is_array() || layers->size() == 0) fields.wrong("layers", "a list of layers, as in [0, -1]", *layers);
    for (const Json& layer : layers->items()) {
      if (!layer.is_integer()) fields.wrong("layers", "whole numbers, as in [0, -1]", layer);
      out.layers.push_back(layer.integer());
    }
  }
  fields.refuse_rest();
  return out;
}

VectorsRecipe read_vectors(const Json& json, const std::string& where) {
  Fields fields(json, where, "vectors");
  VectorsRecipe out{.from = fields.string("from"), .tensor = fields.string_or("tensor", ""), .parameter = fields.string("parameter")};
  out.deviation = between(fields, "deviation", 0, 0, 1000);
  if (out.tensor.empty() && out.deviation > 0)
    fields.wrong("deviation", "a \"tensor\" beside it: an encoder stays as it is", Json(out.deviation));
  fields.refuse_rest();
  return out;
}

// What the recipe leaves out is that model's. The text says it from now on: a checkpoint needs the folder no more.
void begin_at_model(Recipe& recipe, bool has_tokenizer) {
  if (has_tokenizer && !recipe.model.is_null()) return;
  const std::string folder = model_directory(recipe.initial);
  if (!has_tokenizer) recipe.text["tokenizer"] = recipe.tokenizer = folder;
  if (recipe.model.is_null())
    recipe.text["model"] = recipe.model = Json::parse(read_config(folder + "/config.json"), folder + "/config.json");
}

// Tokenizer and model, and what the first weights are.
void read_model(Fields& fields, const Json& json, Recipe& to) {
  if (const Json* named = json.find("tokenizer"); named && named->is_object()) {
    to.vocabulary = read_vocabulary(fields.require("tokenizer"), to.where, to.pairs || (to.task && to.task->kind == "transcribe"));
  } else {
    to.tokenizer = fields.string_or("tokenizer", to.tokenizer);
  }
  to.initial = fields.string_or("from", "");
  if (const Json* model = fields.take("model")) {
    to.model = *model;
  } else if (to.initial.empty()) {
    fields.require("model");
  }
  if (!to.initial.empty()) begin_at_model(to, json.find("tokenizer") != nullptr);
  if (const Json* vectors = fields.take("vectors")) {
    to.vectors = read_vectors(*vectors, to.where);
    if (to.initial.empty() && !json.find("tokenizer")) to.text["tokenizer"] = to.tokenizer = model_directory(to.vectors->from);
  }
}

}  // namespace

Recipe Recipe::read(const std::string& path, const std::vector<std::string>& overrides) {
  const std::string bytes = read_config(path);
  Json json = with_present_names(Json::parse(utf8_text(bytes, path), path), path);
  std::vector<std::string> given;
  for (const std::string& setting : overrides) {
    set(json, with_present_name(setting));
    const std::string field = setting.substr(0, setting.find_first_of(".="));
    if (field == "files" || field == "splits" || field == "pairs" || field == "task")
      add_strings(value_of(setting.substr(setting.find('=') + 1)), given);
  }
  Recipe out = from(json, path);
  out.source.given_files = given;
  return out;
}

Recipe Recipe::from(const Json& given, const std::string& where) {
  const Json json = with_present_names(given, where);
  Fields fields(json, where);
  Recipe out;
  out.where = where;
  out.text = json;
  out.source.folder = fields.string_or("data", ".");
  out.source.origin = fields.string_or("origin", "");
  read_data(fields, out);
  if (const Json* noise = fields.take("noise")) out.noise = read_noise(*noise, out);
  if (const Json* alignment = fields.take("alignment")) out.alignment = read_alignment(*alignment, out);
  if (const Json* penalty = fields.take("entropy")) out.entropy = read_entropy(*penalty, out);
  read_model(fields, json, out);
  out.length = at_least(fields, "length", out.length, 1);
  out.accumulate = at_least(fields, "accumulate", out.accumulate, 1);
  constexpr int64_t kMostParts = int64_t{1} << 20;
  if (out.accumulate > kMostParts)
    fields.wrong("accumulate", format("at most {} parts of a step", with_commas(kMostParts)), Json(out.accumulate));
  out.steps = at_least(fields, "steps", out.steps, 1);
  const int64_t seed = fields.integer_or("seed", 1);
  if (seed < 0) fields.wrong("seed", "an integer of 0 or more", Json(seed));
  out.seed = static_cast<uint64_t>(seed);
  out.dropout = optional_rate(fields, "dropout");
  out.attention_dropout = optional_rate(fields, "attention_dropout");
  out.precision = f32_or_bf16(fields, "precision");
  out.gradient_checkpointing = fields.boolean_or("gradient_checkpointing", false);
  out.smoothing = between(fields, "smoothing", 0, 0, 0.9);
  out.average = between(fields, "average", 0, 0, 0.99999);
  out.save = f32_or_bf16(fields, "save");
  if (const Json* generation = fields.take("generation")) out.generation = *generation;
  if (out.pairs && !out.task && !out.pairs->turns.empty()) out.generation["turns_before"] = out.pairs->turns_before;
  const Json none = Json::object();
  const Json *optimiser = fields.take("optimiser"), *schedule = fields.take("schedule");
  out.optimiser = read_optimiser(optimiser ? *optimiser : none, where);
  out.schedule = read_schedule(schedule ? *schedule : none, where, out.steps);
  out.report = at_least(fields, "report", out.report, 1);
  out.validate = at_least(fields, "validate", out.validate, 1);
  out.checkpoint = at_least(fields, "checkpoint", out.checkpoint, 1);
  if (const Json* watch = fields.take("watch")) out.watch = read_watch(*watch, where);
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
    fail(ErrorCode::kUnsupported, "{}: \"model.{}\" is {}; training has no such dropout: set it to 0", where, name, found->describe());
  }
  return {agreed_rate(*this, "dropout", dropout, {"dropout", "resid_pdrop", "embd_pdrop", "hidden_dropout_prob"}),
          agreed_rate(*this, "attention_dropout", attention_dropout, {"attention_dropout", "attn_pdrop", "attention_probs_dropout_prob"})};
}

}  // namespace clearhead
