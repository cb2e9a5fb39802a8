// Pooling as sentence-transformers has it: mean, first, max, Σ/√n or last token, in double; then x / max(‖x‖, 1e-12) where the modules say so.
// What is not supported is kept as a refusal, for those who ask for a sentence.
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
    const char* name;  // "pooling_mode": "…", newer files
    Pooling pooling;
  };
  constexpr Mode kModes[] = {{"pooling_mode_mean_tokens", "mean", Pooling::kMean},
                             {"pooling_mode_cls_token", "cls", Pooling::kFirst},
                             {"pooling_mode_max_tokens", "max", Pooling::kMax},
                             {"pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", Pooling::kMeanSqrtLength},
                             {"pooling_mode_lasttoken", "lasttoken", Pooling::kLast}};
  int found = 0;
  const Json* named = config.find("pooling_mode");
  for (const Mode& mode : kModes) {
    const Json* flag = config.find(mode.flag);
    const bool chosen = (flag && flag->is_bool() && flag->boolean()) || (named && named->is_string() && named->string() == mode.name);
    if (!chosen) continue;
    facts.pooling = mode.pooling;
    ++found;
  }
  if (found != 1)
    facts.refusal =
        format("{}: {} ways of pooling are on; exactly one of mean, cls, max, mean_sqrt_len and lasttoken is supported", path, found);
}

}  // namespace

SentenceFacts read_sentence_facts(const std::string& directory) {
  SentenceFacts facts;
  const std::string path = directory + "/modules.json";
  if (!is_there(path)) return facts;
  facts.declared = true;
  const Json modules = Json::parse(read_config(path), path);
  if (!modules.is_array()) fail(ErrorCode::kFormat, "{}: expected a list of modules, found {}", path, modules.describe());
  for (const Json& module : modules.items()) {
    Fields fields(module, path);
    const std::string type = fields.string_or("type", ""), folder = fields.string_or("path", "");
    const std::string kind = type.substr(type.rfind('.') + 1);
    if (folder.find("..") != std::string::npos) fail(ErrorCode::kFormat, "{}: \"path\": \"{}\" leaves the model's folder", path, folder);
    if (kind == "Transformer") continue;
    if (kind == "Pooling") {
      read_pooling(directory + "/" + folder + "/config.json", facts);
    } else if (kind == "Normalize") {
      facts.normalise = true;
    } else if (facts.refusal.empty()) {
      facts.refusal = format("{}: module \"{}\" is not supported; known are Transformer, Pooling, Normalize", path, type);
    }
  }
  const std::string limits = directory + "/sentence_bert_config.json";
  if (is_there(limits)) {
    const Json config = Json::parse(read_config(limits), limits);
    facts.longest = Fields(config, limits).integer_or("max_seq_length", 0);
    if (facts.longest < 0) fail(ErrorCode::kFormat, "{}: \"max_seq_length\": expected a positive integer, found {}", limits, facts.longest);
  }
  return facts;
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
