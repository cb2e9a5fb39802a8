// Loads a model by name: finds its directory, reads its config.json and file headers, then its weights.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/format.h"
#include "io/hub.h"
#include "models/find_model.h"
#include "models/loaded_model.h"
#include "models/loaded_network.h"
#include "models/network.h"

namespace clearhead {
namespace {

bool is_directory(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

// The directory in which tools/demo-model stores the demo's pretrained model.
std::string demo_cache() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  return (cache && *cache ? std::string(cache) : std::string(home ? home : "") + "/.cache") + "/clearhead/models";
}

}  // namespace

std::string model_directory(const std::string& name) {
  if (name.empty())
    fail(ErrorCode::kInvalidArgument, "the model's name is empty; give a directory, or a name in the local Hugging Face cache");
  std::vector<std::string> searched = {name, "models/" + name, demo_cache() + "/" + name};
  for (const std::string& path : searched) {
    if (is_directory(path)) return path;
  }
  std::error_code ignored;
  if (std::filesystem::exists(name, ignored)) {
    fail(ErrorCode::kInvalidArgument, "{}: expected a model's directory (config.json, model.safetensors …), found a file", name);
  }
  if (name.starts_with('/') || name.starts_with("./") || name.starts_with("../"))
    fail(ErrorCode::kNotFound, "model {}: there is no such directory; expected one with config.json and model.safetensors", name);
  const io::HubSearch hub = io::find_in_hub(name);
  if (!hub.directory.empty()) return hub.directory;
  searched.insert(searched.end(), hub.searched.begin(), hub.searched.end());
  std::string places;
  for (const std::string& place : searched) places += (places.empty() ? "" : ", ") + place;
  fail(ErrorCode::kNotFound,
       "model \"{}\" was not found; searched {}. Models are not downloaded automatically; run `hf download {}` to get it from the Hub",
       name, places, name);
}

namespace {

struct Found {
  Json config{};
  bool is_network = false;  // if true, `facts` is empty
  ModelInfo info{};
  Architecture facts{};
  io::SafeTensors file;
  SentenceFacts sentence{};
};

void describe_file(const io::SafeTensors& file, ModelInfo& info) {
  std::set<std::string> dtypes;
  for (const io::TensorEntry& entry : file.entries()) {
    int64_t count = 1;
    for (const int64_t size : entry.shape) count *= size;
    const bool is_weight = entry.dtype == DType::kF32 || entry.dtype == DType::kBF16 || entry.dtype == DType::kF16;
    if (!is_weight) continue;
    info.parameters += count;
    info.file_bytes += entry.end - entry.begin;
    info.memory_bytes += static_cast<uint64_t>(count) * sizeof(float);
    dtypes.insert(to_string(*entry.dtype));
  }
  info.file_dtype = dtypes.size() == 1 ? *dtypes.begin() : "mixed";
}

// Reads "task_specific_params": {"token-classification": {"aggregation_strategy": "first"}}, named as in Hugging Face's pipelines. Returns
// true for "first", the default: a word gets the label of its first token. Returns false for "simple": words do not matter.
bool tags_words(const Json& config, const std::string& where) {
  const Json* tasks = config.find("task_specific_params");
  const Json* task = tasks && tasks->is_object() ? tasks->find("token-classification") : nullptr;
  const Json* strategy = task && task->is_object() ? task->find("aggregation_strategy") : nullptr;
  if (!strategy || strategy->is_null()) return true;
  const std::string name = strategy->is_string() ? strategy->string() : "";
  if (name != "first" && name != "simple") {
    fail(ErrorCode::kUnsupported,
         "{}: \"task_specific_params\": \"aggregation_strategy\": {} is not supported; expected \"first\" or \"simple\"", where,
         strategy->describe());
  }
  return name == "first";
}

// Describes a network. Constructing it also creates parameters, which are discarded.
Found find_network(const std::string& name, const std::string& directory, const Json& config) {
  Found found{config, true, {}, {}, io::SafeTensors::open_model(directory), {}};
  Parameters parameters;
  const NetworkFacts facts = network_of(config, directory + "/config.json", parameters)->facts();
  ModelInfo& info = found.info;
  info.name = name;
  info.directory = directory;
  info.model_type = config.find("model_type")->string();
  info.reads = facts.reads;
  info.takes_positions = false;
  info.layers = facts.layers;
  info.heads = info.key_heads = facts.heads;
  info.width = facts.width;
  info.head_dim = facts.width / facts.heads;
  info.vocabulary = facts.vocabulary;
  info.longest = facts.longest;
  info.first_token = facts.first_token;
  info.labels = facts.labels;
  info.output = facts.output;
  info.problem = facts.problem;
  info.has_causal = facts.labels.empty() && facts.output.empty();
  info.encoder_layers = info.has_causal ? 1 : 0;
  info.causal = info.has_causal;
  info.has_classifier = !facts.labels.empty();
  info.tags = facts.tags;
  if (info.tags) info.tags_words = tags_words(config, directory + "/config.json");
  info.environment = facts.environment;
  describe_file(found.file, info);
  return found;
}

Found find(const std::string& name) {
  const std::string directory = model_directory(name), path = directory + "/config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored))
    fail(ErrorCode::kNotFound, "{}: this directory has no config.json; expected a model directory", directory);
  const Json config = Json::parse(read_config(path), path);
  if (is_network(config)) return find_network(name, directory, config);
  const Architecture facts = read_architecture(config, path);
  Found found{config, false, {}, facts, io::SafeTensors::open_model(directory), read_sentence_facts(directory)};
  ModelInfo& info = found.info;
  info.name = name;
  info.directory = directory;
  info.model_type = facts.model_type;
  info.architectures = facts.architectures;
  info.layers = facts.layers;
  info.width = facts.width;
  info.heads = facts.heads;
  info.key_heads = facts.key_heads;
  info.head_dim = facts.head_dim;
  info.mlp_width = facts.layer.mlp.kind == MlpFacts::Kind::kNone ? 0 : facts.mlp_width;
  info.vocabulary = facts.vocabulary;
  info.longest = facts.longest;
  info.type_count = facts.embedding.type_count;
  info.causal = std::all_of(facts.attention.begin(), facts.attention.end(), [](const AttentionFacts& layer) { return layer.causal; });
  info.encoder_layers = facts.encoder ? facts.encoder->layers : 0;
  info.reads = facts.encoder ? "pair" : "text";
  info.first_token = facts.first_token;
  info.labels = facts.labels;
  info.problem = facts.problem;
  const HeadsInFile heads = heads_in_file(facts, found.file);
  info.has_pooler = heads.pooler;
  info.has_masked = heads.masked;
  info.has_classifier = heads.classifier;
  info.reads_last = heads.classifier && facts.classifier->where == ClassifierFacts::Where::kLast;
  if (info.reads_last) info.padding = facts.classifier->pad_token;
  info.tags = heads.classifier && facts.classifier->where == ClassifierFacts::Where::kEvery;
  if (info.tags) info.tags_words = tags_words(config, path);
  if (heads.classifier) info.answers = facts.answers;
  info.has_causal = heads.causal;
  info.has_embedding = found.sentence.declared && found.sentence.refusal.empty();
  describe_file(found.file, info);
  return found;
}

}  // namespace

ModelInfo describe_model(const std::string& path_or_name) { return find(path_or_name).info; }

std::shared_ptr<const Model> load(const std::string& path_or_name, const LoadOptions& options) {
  if (options.precision != DType::kF32 && options.precision != DType::kBF16)
    fail(ErrorCode::kUnsupported, "load: precision is {}; expected f32 or bf16", to_string(options.precision));
  Found found = find(path_or_name);
  const bool reads_words = options.tokenizer && found.info.vocabulary > 0;
  std::shared_ptr<const Tokenizer> tokenizer = reads_words ? Tokenizer::load(found.info.directory) : nullptr;
  const bool rounds_weights = options.precision == DType::kBF16 && options.weights == WeightStorage::kF32;
  const WeightStorage weights = rounds_weights ? WeightStorage::kBF16 : options.weights;
  if (options.gradients && weights != WeightStorage::kF32)
    fail(ErrorCode::kUnsupported, "load: gradients are supported for f32 weights only; leave `weights` and `precision` at f32");
  found.info.precision = options.precision;
  if (found.is_network) {
    if (options.weights != WeightStorage::kF32)
      fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" supports only f32 weights; leave `weights` at f32", found.info.name,
           found.info.model_type);
    return std::make_shared<LoadedNetwork>(std::move(found.info), found.config, std::move(tokenizer));
  }
  return std::make_shared<LoadedModel>(std::move(found.info), Transformer(found.facts, found.file, {weights, options.gradients}),
                                       std::move(tokenizer), std::move(found.sentence));
}

}  // namespace clearhead
