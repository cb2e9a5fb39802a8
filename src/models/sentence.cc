// Pooling as in sentence-transformers: mean, first token, max, Σ/√n or last token, in double; then x / max(‖x‖, 1e-12) if there is a
// Normalize module. An unsupported setting is stored as a message, which is thrown when a sentence embedding is requested.
#include "models/sentence.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"

namespace clearhead {
namespace {

using Pooling = SentenceFacts::Pooling;

bool is_there(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

void read_pooling(const std::string& path, SentenceFacts& facts) {
  const Json config = Json::parse(read_config(path), path);
  struct Mode {
    const char* flag;  // "pooling_mode_…": true
    const char* name;  // "pooling_mode": "…", in newer files
    Pooling pooling;
  };
  constexpr Mode kModes[] = {{"pooling_mode_mean_tokens", "mean", Pooling::kMean},
                             {"pooling_mode_cls_token", "cls", Pooling::kFirst},
                             {"pooling_mode_max_tokens", "max", Pooling::kMax},
                             {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", Pooling::kMeanSqrtLength},
                             {"pooling_mode_lasttoken", "lasttoken", Pooling::kLast}};
  int found = 0;
  const Json* named = config.find("pooling_mode");
  const auto is_known = [&](const std::string& flag) {
    return std::any_of(std::begin(kModes), std::end(kModes), [&](const Mode& mode) { return flag == mode.flag; });
  };
  for (const auto& [name, value] : config.fields())
    found += name.starts_with("pooling_mode_") && !is_known(name) && value.is_bool() && value.boolean();
  for (const Mode& mode : kModes) {
    const Json* flag = config.find(mode.flag);
    const bool chosen = (flag && flag->is_bool() && flag->boolean()) || (named && named->is_string() && named->string() == mode.name);
    if (!chosen) continue;
    facts.pooling = mode.pooling;
    ++found;
  }
  if (found != 1)
    facts.refusal =
        format("{}: {} pooling modes are enabled; expected exactly one of mean, cls, max, mean_sqrt_len and lasttoken", path, found);
  const Json* with_prompt = config.find("include_prompt");
  if (with_prompt && with_prompt->is_bool() && !with_prompt->boolean() && !facts.prompt.empty())
    facts.refusal = format("{}: \"include_prompt\": false is not supported with a default prompt; expected true", path);
}

// Reads the default prompt. The prompts "query" and "document" are empty if the file does not define them.
void read_prompt(const std::string& path, SentenceFacts& facts) {
  if (!is_there(path)) return;
  const Json config = Json::parse(read_config(path), path);
  const std::string name = Fields(config, path).string_or("default_prompt_name", "");
  if (name.empty()) return;
  const Json* prompts = config.find("prompts");
  const Json* prompt = prompts ? prompts->find(name) : nullptr;
  if (prompt && prompt->is_string()) {
    facts.prompt = prompt->string();
  } else if (!prompt && name != "query" && name != "document") {
    facts.refusal = format("{}: \"default_prompt_name\": \"{}\" is not one of \"prompts\"", path, name);
  }
}

void read_limits(const std::string& directory, SentenceFacts& facts) {
  const std::string path = directory + "/sentence_bert_config.json";
  if (is_there(path)) {
    const Json config = Json::parse(read_config(path), path);
    Fields fields(config, path);
    facts.longest = fields.integer_or("max_seq_length", 0);
    facts.lowercases = fields.boolean_or("do_lower_case", false);
    if (facts.longest < 0)
      fail(ErrorCode::kFormat, "{}: \"max_seq_length\": expected an integer of 0 or more, found {}", path, facts.longest);
  }
  const std::string beside = directory + "/tokenizer_config.json";
  if (facts.longest > 0 || !is_there(beside)) return;
  const Json config = Json::parse(read_config(beside), beside);
  const Json* longest = config.find("model_max_length");  // 1e30: no limit
  if (longest && longest->is_number() && longest->number() >= 1 && longest->number() < 1e9) facts.longest = longest->integer();
}

bool is_lowercase(const Json& normalizer) {
  const Json* type = normalizer.find("type");
  return type && type->is_string() && type->string() == "Lowercase";
}

}  // namespace

SentenceFacts read_sentence_facts(const std::string& directory) {
  SentenceFacts facts;
  const std::string path = directory + "/modules.json";
  if (!is_there(path)) return facts;
  facts.declared = true;
  read_prompt(directory + "/config_sentence_transformers.json", facts);
  const Json modules = Json::parse(read_config(path), path);
  if (!modules.is_array()) fail(ErrorCode::kFormat, "{}: expected a list of modules, found {}", path, modules.describe());
  for (const Json& module : modules.items()) {
    Fields fields(module, path);
    const std::string type = fields.string_or("type", ""), folder = fields.string_or("path", "");
    const std::string kind = type.substr(type.rfind('.') + 1);
    if (folder.find("..") != std::string::npos)
      fail(ErrorCode::kFormat, "{}: \"path\": \"{}\" points outside the model's directory", path, folder);
    if (kind == "Transformer") continue;
    if (kind == "Pooling") {
      read_pooling(directory + "/" + folder + "/config.json", facts);
    } else if (kind == "Normalize") {
      facts.normalise = true;
    } else if (facts.refusal.empty()) {
      facts.refusal = format("{}: module \"{}\" is not supported; expected Transformer, Pooling or Normalize", path, type);
    }
  }
  read_limits(directory, facts);
  return facts;
}

std::shared_ptr<const Tokenizer> sentence_tokenizer(const SentenceFacts& facts, const std::string& directory,
                                                    std::shared_ptr<const Tokenizer> own) {
  if (!facts.lowercases || !own) return own;
  const std::string path = directory + "/tokenizer.json", beside = directory + "/tokenizer_config.json";
  if (!is_there(path)) {
    fail(ErrorCode::kUnsupported,
         "{}/sentence_bert_config.json: \"do_lower_case\": true is not supported without a tokenizer.json; save one with the "
         "transformers library",
         directory);
  }
  Json json = Json::parse(read_config(path), path);
  const Json* normalizer = json.find("normalizer");
  Json::Array steps{Json::object({{"type", "Lowercase"}})};
  if (normalizer && !normalizer->is_null()) {
    const Json* parts = normalizer->find("normalizers");
    const Json::Array own_steps = parts && parts->is_array() ? parts->items() : Json::Array{*normalizer};
    if (std::any_of(own_steps.begin(), own_steps.end(), is_lowercase)) return own;
    steps.insert(steps.end(), own_steps.begin(), own_steps.end());
  }
  json["normalizer"] = Json::object({{"type", "Sequence"}, {"normalizers", Json(std::move(steps))}});
  return Tokenizer::from_json(json.dump(), path, is_there(beside) ? read_config(beside) : std::string());
}

std::vector<float> pool_sentence(const SentenceFacts& facts, const Tensor& hidden) {
  const int64_t tokens = hidden.size(0), width = hidden.size(1);
  const float* rows = hidden.data<float>();
  std::vector<double> sum(static_cast<size_t>(width), facts.pooling == Pooling::kMax ? -INFINITY : 0.0);
  const int64_t first = facts.pooling == Pooling::kLast ? tokens - 1 : 0, last = facts.pooling == Pooling::kFirst ? 1 : tokens;
  for (int64_t token = first; token < last; ++token) {
    for (int64_t c = 0; c < width; ++c) {
      const double value = static_cast<double>(rows[token * width + c]);
      double& to = sum[static_cast<size_t>(c)];
      to = facts.pooling == Pooling::kMax ? std::max(to, value) : to + value;
    }
  }
  const double count = static_cast<double>(tokens);
  double scale = 1;
  if (facts.pooling == Pooling::kMean) scale = 1 / count;
  if (facts.pooling == Pooling::kMeanSqrtLength) scale = 1 / std::sqrt(count);
  double square = 0;
  for (double& value : sum) {
    value *= scale;
    square += value * value;
  }
  const double norm = facts.normalise ? std::max(std::sqrt(square), 1e-12) : 1;
  std::vector<float> out;
  for (const double value : sum) out.push_back(static_cast<float>(value / norm));
  return out;
}

}  // namespace clearhead
