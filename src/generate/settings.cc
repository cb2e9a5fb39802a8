// Reads the generation settings of a model's files as transformers does: generation_config.json, or config.json if there is
// no such file.
#include <algorithm>
#include <filesystem>
#include <limits>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "base/memory.h"
#include "generate/parts.h"
#include "generate/rules.h"
#include "models/input_kind.h"

namespace clearhead {
namespace {

constexpr int64_t kMostBeams = 1000;  // a larger "num_beams" is refused as a mistake

/// Typed access to the settings of one file. A setting that is null counts as absent.
class Settings {
 public:
  static std::optional<Settings> of_file(const ModelInfo& model, const char* name) {
    const std::string path = model.directory + "/" + name;
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) return std::nullopt;
    return Settings(path);
  }
  static Settings of(const ModelInfo& model) {
    for (const char* name : {"generation_config.json", "config.json"}) {
      if (std::optional<Settings> found = of_file(model, name)) return *std::move(found);
    }
    return {};
  }

  const std::string& path() const { return path_; }
  const Json* find(const char* name) const {
    const Json* found = json_.find(name);
    return found && !found->is_null() ? found : nullptr;
  }
  [[noreturn]] void wrong(const char* name, std::string_view expected, const Json& found) const {
    fail(ErrorCode::kFormat, "{}: \"{}\": expected {}, found {}", path_, name, expected, found.describe());
  }
  double number(const char* name, double otherwise) const {
    const Json* found = find(name);
    if (found && !found->is_number()) wrong(name, "a number", *found);
    return found ? found->number() : otherwise;
  }
  std::optional<int64_t> whole(const char* name, int64_t least, int64_t most = std::numeric_limits<int32_t>::max()) const {
    const Json* found = find(name);
    if (!found) return std::nullopt;
    if (!found->is_integer() || found->integer() < least || found->integer() > most)
      wrong(name,
            most == std::numeric_limits<int32_t>::max() ? format("a whole number of {} or more", least)
                                                        : format("a whole number, {} to {}", least, most),
            *found);
    return found->integer();
  }
  /// One id or a list of them.
  std::vector<int32_t> ids(const char* name) const {
    const Json* found = find(name);
    if (!found) return {};
    return ids_of(name, found->is_array() ? found->items() : Json::Array{*found});
  }
  std::vector<std::vector<int32_t>> lists(const char* name) const {
    std::vector<std::vector<int32_t>> out;
    const Json* found = find(name);
    if (!found) return out;
    if (!found->is_array()) wrong(name, "token ids", *found);
    for (const Json& list : found->items()) {
      if (!list.is_array() || list.size() == 0) wrong(name, "token ids", list);
      out.push_back(ids_of(name, list.items()));
    }
    return out;
  }

 private:
  Settings() = default;
  explicit Settings(const std::string& path) : path_(path), json_(Json::parse(read_config(path), path)) {}
  std::vector<int32_t> ids_of(const char* name, const Json::Array& items) const {
    std::vector<int32_t> out;
    for (const Json& item : items) {
      if (!item.is_integer() || item.integer() < 0 || item.integer() > std::numeric_limits<int32_t>::max()) wrong(name, "token ids", item);
      out.push_back(static_cast<int32_t>(item.integer()));
    }
    return out;
  }

  std::string path_{};
  Json json_{};
};

// Throws kBudget if memory cannot hold what the beams of one sentence need at least: for each beam, a row of logits and one full page
// (256 keys and values) of every layer. A single beam is not checked.
void check_memory(const ModelInfo& info, int64_t beams, DType cache, const std::string& what) {
  const double page = 256.0 * static_cast<double>(info.layers * info.key_heads * info.head_dim * 2) * static_cast<double>(size_of(cache));
  const double bytes = static_cast<double>(beams) * (page + 4.0 * static_cast<double>(info.vocabulary));
  const uint64_t there = physical_memory();
  if (beams == 1 || bytes <= static_cast<double>(there)) return;
  fail(ErrorCode::kBudget, "{}: {} beams need at least {} of memory for logits, keys and values, but this machine has {}; use fewer beams",
       what, with_commas(beams), human_bytes(static_cast<uint64_t>(std::min(bytes, 1e18))), human_bytes(there));
}

struct NeutralSetting {
  const char* name;
  std::vector<double> neutral{};  // values that change nothing
};

// Throws kUnsupported for settings that change the text that transformers generates and have no counterpart here.
void refuse(const Settings& settings, const std::vector<NeutralSetting>& others) {
  for (const auto& [name, neutral] : others) {
    const Json* found = settings.find(name);
    if (!found || ((found->is_array() || found->is_object()) && found->size() == 0)) continue;
    const std::optional<double> value = found->is_number() ? std::optional(found->number())
                                        : found->is_bool() ? std::optional(found->boolean() ? 1.0 : 0.0)
                                                           : std::nullopt;
    if (value && std::find(neutral.begin(), neutral.end(), *value) != neutral.end()) continue;
    fail(ErrorCode::kUnsupported, "{}: \"{}\": {} is not supported and changes the generated text; remove it to generate without it",
         settings.path(), name, found->describe());
  }
}

}  // namespace

void check_beams(const Model& model, int64_t beams, DType cache) { check_memory(model.info(), beams, cache, "beams"); }

std::vector<int32_t> end_tokens(const Model& model) { return Settings::of(model.info()).ids("eos_token_id"); }

Beams default_beams(const Model& model, const Beams& otherwise) {
  const Settings settings = Settings::of(model.info());
  Beams beams = otherwise;
  if (const auto count = settings.whole("num_beams", 1, kMostBeams)) {
    beams.count = *count;
    check_memory(model.info(), beams.count, model.info().precision, settings.path() + ": \"num_beams\"");
  }
  beams.length_penalty = settings.number("length_penalty", beams.length_penalty);
  if (const Json* early = settings.find("early_stopping")) {
    const bool is_never = early->is_string() && early->string() == "never";
    if (!early->is_bool() && !is_never) settings.wrong("early_stopping", "true, false or \"never\"", *early);
    beams.early_stopping = is_never ? EarlyStopping::kNever : early->boolean() ? EarlyStopping::kAlways : EarlyStopping::kHeuristic;
  }
  return beams;
}

GenerationRules default_rules(const Model& model) {
  const Settings settings = Settings::of(model.info());
  refuse(settings, {{"guidance_scale", {1}},
                    {"sequence_bias"},
                    {"num_beam_groups", {0, 1}},
                    {"diversity_penalty", {0}},
                    {"penalty_alpha", {0}},
                    {"dola_layers"},
                    {"constraints"},
                    {"force_words_ids"},
                    {"watermarking_config"},
                    {"renormalize_logits", {0}},
                    {"stop_strings"},
                    {"token_healing", {0}}});
  if (const Json* samples = settings.find("do_sample");
      samples && samples->is_bool() && samples->boolean() && input_kind(model.info()).has_target) {
    fail(ErrorCode::kUnsupported, "{}: \"do_sample\": true is not supported for encoder-decoder models; expected false", settings.path());
  }
  GenerationRules rules;
  rules.encoder_repetition_penalty = settings.number("encoder_repetition_penalty", 1);
  rules.repetition_penalty = settings.number("repetition_penalty", 1);
  rules.no_repeat_ngram_size = settings.whole("no_repeat_ngram_size", 0).value_or(0);
  rules.encoder_no_repeat_ngram_size = settings.whole("encoder_no_repeat_ngram_size", 0).value_or(0);
  rules.bad_words_ids = settings.lists("bad_words_ids");
  rules.min_length = settings.whole("min_length", 0).value_or(0);
  rules.min_new_tokens = settings.whole("min_new_tokens", 0).value_or(0);
  if (const auto id = settings.whole("forced_bos_token_id", 0)) rules.forced_bos_token_id = static_cast<int32_t>(*id);
  rules.forced_eos_token_id = settings.ids("forced_eos_token_id");
  if (const Json* decay = settings.find("exponential_decay_length_penalty")) {
    const bool is_right = decay->is_array() && decay->size() == 2 && decay->items()[0].is_integer() && decay->items()[1].is_number();
    if (!is_right || decay->items()[0].integer() < 0) settings.wrong("exponential_decay_length_penalty", "[first token, factor]", *decay);
    rules.exponential_decay_length_penalty = {decay->items()[0].integer(), decay->items()[1].number()};
  }
  rules.suppress_tokens = settings.ids("suppress_tokens");
  rules.begin_suppress_tokens = settings.ids("begin_suppress_tokens");
  try {
    validate(rules);
  } catch (const Error& error) {
    fail(ErrorCode::kFormat, "{}: {}", settings.path(), error.what());
  }
  return rules;
}

Sampling default_sampling(const Model& model) {
  const Settings settings = Settings::of(model.info());
  refuse(settings, {{"typical_p", {1}}, {"min_p", {0}}, {"epsilon_cutoff", {0}}, {"eta_cutoff", {0}}, {"top_h"}});
  Sampling sampling;
  sampling.temperature = settings.number("temperature", sampling.temperature);
  sampling.top_k = settings.whole("top_k", 0).value_or(sampling.top_k);
  sampling.top_p = settings.number("top_p", sampling.top_p);
  const auto above_zero = [&](const char* name, double value, double most) {
    if (!(value > 0 && value <= most))
      settings.wrong(name, most == 1 ? "a number above 0 and at most 1" : "a number above 0", *settings.find(name));
  };
  above_zero("temperature", sampling.temperature, std::numeric_limits<double>::max());
  above_zero("top_p", sampling.top_p, 1);
  return sampling;
}

std::optional<int64_t> default_new_tokens(const Model& model) { return Settings::of(model.info()).whole("max_new_tokens", 1); }

std::optional<int64_t> default_max_length(const Model& model) { return Settings::of(model.info()).whole("max_length", 1); }

int64_t default_max_tokens(const Model& model, int64_t otherwise) {
  const Settings settings = Settings::of(model.info());
  if (const auto added = settings.whole("max_new_tokens", 1)) return *added;
  const auto longest = settings.whole("max_length", 2);  // max_length counts the first token
  return longest ? *longest - 1 : otherwise;
}

std::optional<int64_t> turns_before(const ModelInfo& model) {
  for (const char* name : {"generation_config.json", "config.json"}) {
    const std::optional<Settings> settings = Settings::of_file(model, name);
    if (!settings) continue;
    if (const auto turns = settings->whole("turns_before", 0)) return turns;
  }
  return std::nullopt;
}

}  // namespace clearhead
