// The two kinds of trainable models. Their leaves are in the order in which the parameters are created.
#include "train/trainable_model.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/nn.h"
#include "io/safetensors.h"
#include "models/find_model.h"
#include "models/input_kind.h"
#include "models/network.h"
#include "models/run_text.h"
#include "models/weights.h"
#include "ops/run_compute.h"
#include "tasks/data/labelled_data.h"
#include "tensor/convert.h"
#include "train/footprint.h"
#include "train/watch.h"

namespace clearhead::train {
namespace {

Architecture facts_that_fit(const tasks::Recipe& recipe) {
  Architecture facts = read_architecture(recipe.model, recipe.where);
  check_fits(facts, recipe);
  return facts;
}

tasks::TaskFacts facts_of(const Architecture& of) {
  return {.model_type = of.model_type,
          .reads = of.encoder ? "pair" : "text",
          .vocabulary = of.vocabulary,
          .longest = of.longest,
          .first_token = of.first_token};
}

tasks::TaskFacts facts_of(const Network& network, const tasks::Recipe& recipe) {
  const NetworkFacts& of = network.facts();
  return {.model_type = recipe.model.find("model_type")->string(),
          .reads = of.reads,
          .vocabulary = of.vocabulary,
          .longest = of.longest,
          .first_token = of.first_token,
          .network = of};
}

void copy_values(const io::SafeTensors& file, const std::string& tensor, const std::string& parameter, Tensor to) {
  const Tensor from = file.get(tensor);
  if (from.shape() != to.shape()) {
    fail(ErrorCode::kShape, "{}: \"{}\" has the shape {}, but the recipe's \"{}\" has {}; give the model these sizes", file.where(), tensor,
         to_string(from.shape()), parameter, to_string(to.shape()));
  }
  convert(from, to);
}

class TrainableTransformer final : public TrainableModel {
 public:
  TrainableTransformer(const tasks::Recipe& recipe, const Tokenizer& tokenizer)
      : recipe_(recipe),
        architecture_(facts_that_fit(recipe)),
        parameters_(recipe.seed),
        transformer_(architecture_, parameters_, tasks::heads_of(recipe, architecture_)),
        watch_(recipe, architecture_, tokenizer) {
    set_parameters(parameters_, [&](const Tensor& leaf) { return leaf.rank() > 1 && !transformer_.is_embedding(leaf); });
    facts_ = facts_of(architecture_);
    if (recipe.pairs && recipe.pairs->rouge && recipe.pairs->best != "loss")
      fail(ErrorCode::kUnsupported, "{}: \"pairs.best\": expected \"loss\"; a model of type \"{}\" does not generate text during training",
           recipe.where, facts_.model_type);
  }

  RunResult forward(Run& run, const tasks::Example& example) const override {
    ForwardInput source, input = tasks::input_of(example.input);
    if (example.source) {
      source = tasks::input_of(*example.source);
      input.source = &source;
    }
    return transformer_.forward(run, input, {.masked_rows = example.masked_rows});
  }

  void begin_at(const std::string& model) override {
    const io::SafeTensors file = io::SafeTensors::open_model(model_directory(model));
    check_all_read(file);
    for (const auto& [name, values] : named_) {
      const std::string found = name_in(file, architecture_, bare(name));
      const bool is_new_head = recipe_.task && is_of_head(name) && (found.empty() || file.get(found).shape() != values.shape());
      if (!is_new_head) copy_values(file, found.empty() ? name : found, name, values);
    }
  }

  bool is_watched(int64_t step) const override { return watch_.is_due(step); }
  Trace look(Arena& arena, int64_t step) const override { return watch_.look(transformer_, arena, step); }

 private:
  // A tensor's name without the prefix of the model ("bert.").
  std::string bare(const std::string& name) const {
    const std::string& prefix = architecture_.prefix;
    return !prefix.empty() && name.starts_with(prefix) ? name.substr(prefix.size()) : name;
  }
  bool is_of_head(const std::string& name) const {
    constexpr const char* kHeads[] = {"classifier", "pre_classifier", "pooler", "qa_outputs", "cls.", "lm_head.", "vocab_", "score."};
    const std::string rest = bare(name);
    return std::any_of(std::begin(kHeads), std::end(kHeads), [&](const char* head) { return rest.starts_with(head); });
  }
  // Throws for tensors that the recipe's model would ignore, except the heads of other tasks.
  void check_all_read(const io::SafeTensors& file) const {
    std::set<std::string> read;
    for (const std::string& name : file.names()) {
      if (is_of_head(name)) read.insert(name);
    }
    for (const auto& [name, values] : named_) {
      read.insert(name);
      read.insert(name_in(file, architecture_, bare(name)));
    }
    refuse_unread(file, architecture_, read);
  }

  const tasks::Recipe& recipe_;
  Architecture architecture_;
  Parameters parameters_;
  Transformer transformer_;
  Watch watch_;
};

class TrainableNetwork final : public TrainableModel {
 public:
  TrainableNetwork(const tasks::Recipe& recipe, const Tokenizer& tokenizer)
      : recipe_(recipe), parameters_(recipe.seed), network_(network_of(with_dropout(recipe), recipe.where, parameters_)) {
    set_parameters(parameters_, [](const Tensor& leaf) { return leaf.rank() > 1; });
    facts_ = facts_of(*network_, recipe);
    if (!recipe.watch.texts.empty()) watch(tokenizer);
  }

  RunResult forward(Run& run, const tasks::Example& example) const override {
    RunCompute compute(run);
    return result_of(network_->training_output(compute, example.input, source_of(example)), example);
  }

  RunResult answer(Run& run, const tasks::Example& example) const override {
    RunCompute compute(run);
    return result_of(network_->logits(compute, example.input, source_of(example)), example);
  }

  std::vector<double> write(Run& run, const tasks::Example& example, int64_t most) const override {
    RunCompute compute(run);
    const int64_t batch = example.input.batch;
    ModelCache cache{.batch = batch};
    network_->read(compute, *example.source, cache);
    std::vector<double> out(static_cast<size_t>(batch * most), -1);
    std::vector<int32_t> ids(static_cast<size_t>(batch), facts_.first_token);
    std::vector<bool> is_done(ids.size());
    for (; cache.length < most && !std::all_of(is_done.begin(), is_done.end(), [](bool done) { return done; }); ++cache.length) {
      const std::vector<double> best = tasks::largest_of_rows(network_->step(compute, ids, cache));
      for (size_t row = 0; row < ids.size(); ++row) {
        ids[row] = static_cast<int32_t>(best[row]);
        is_done[row] = is_done[row] || ids[row] == network_->facts().end_token;
        if (!is_done[row]) out[row * static_cast<size_t>(most) + static_cast<size_t>(cache.length)] = best[row];
      }
    }
    return out;
  }

  void begin_at(const std::string& model) override {
    const io::SafeTensors file = io::SafeTensors::open_model(model_directory(model));
    for (const Parameters::Named& one : parameters_.named()) copy_values(file, one.name, one.name, one.values);
  }

  bool is_watched(int64_t step) const override { return std::binary_search(watched_steps_.begin(), watched_steps_.end(), step); }

  Trace look(Arena& arena, int64_t step) const override {
    const auto run = [&](Observer& observer) { forward(arena, observer); };
    Trace trace;
    trace.begin(plan_of_run(format("{} after {} steps", facts_.model_type, step), watched_text_, run));
    run(trace);
    return trace;
  }

 private:
  // Copies the recipe's dropout rate into the config, where the network reads it.
  static Json with_dropout(const tasks::Recipe& recipe) {
    Json config = recipe.model;
    if (recipe.dropout) config["dropout"] = recipe.dropout_rates().residual;
    return config;
  }

  static const Batch* source_of(const tasks::Example& example) { return example.source ? &*example.source : nullptr; }

  RunResult result_of(const Tensor& logits, const tasks::Example& example) const {
    const NetworkFacts& facts = network_->facts();
    if (!facts.labels.empty() || !facts.output.empty()) return {.class_logits = logits};
    return {.causal_logits = logits.reshape({example.input.batch, example.input.length, logits.size(1)})};
  }

  void forward(Arena& arena, Observer& observer) const {
    Run run{arena, &observer};
    forward(run, watched_);
  }

  // Watches one text, which must be a pair: source, tab, target.
  void watch(const Tokenizer& tokenizer) {
    const std::vector<std::string>& texts = recipe_.watch.texts;
    if (const InputKind& kind = input_kind(facts_.reads); !kind.is_text() || !kind.has_target)
      fail(ErrorCode::kUnsupported, "{}: \"watch.texts\": a model that reads a {} cannot be watched during training", recipe_.where,
           facts_.reads);
    const size_t tab = texts[0].find('\t');
    if (texts.size() != 1 || tab == std::string::npos || tab == 0 || tab + 1 == texts[0].size())
      fail(ErrorCode::kInvalidArgument,
           "{}: \"watch.texts\": a model of this type is traced on a single pair; expected a source and its target, separated by a tab",
           recipe_.where);
    const Encoding source = tokenizer.encode(texts[0].substr(0, tab));
    Encoding target{.ids = {facts_.first_token}, .type_ids = {0}, .offsets = {{0, 0}}, .segment = {Encoding::kSpecial}};
    const Encoding words = tokenizer.encode(texts[0].substr(tab + 1));
    target.ids.insert(target.ids.end(), words.ids.begin(), words.ids.end());
    target.offsets.insert(target.offsets.end(), words.offsets.begin(), words.offsets.end());
    target.segment.insert(target.segment.end(), words.segment.begin(), words.segment.end());
    target.type_ids.resize(target.ids.size());
    watched_text_ = joined(run_text(source, &tokenizer, texts[0].substr(0, tab)), run_text(target, &tokenizer, texts[0].substr(tab + 1)));
    const auto rows = [](const Encoding& side) { return Batch{.batch = 1, .length = static_cast<int64_t>(side.size()), .ids = side.ids}; };
    watched_ = {.source = rows(source), .input = rows(target)};
    watched_steps_ = watched_steps(recipe_.watch.checkpoints, recipe_.steps);
  }

  const tasks::Recipe& recipe_;
  Parameters parameters_;
  std::unique_ptr<Network> network_;
  std::vector<int64_t> watched_steps_{};  // ascending
  RunText watched_text_{};
  tasks::Example watched_{};
};

// Gives each column mean 0 and this standard deviation; a column of equal values becomes 0.
void standardise_columns(Tensor& values, double deviation) {
  const int64_t columns = values.shape().back(), rows = values.numel() / columns;
  float* data = values.mutable_data<float>();
  for (int64_t column = 0; column < columns; ++column) {
    double sum = 0, squares = 0;
    for (int64_t row = 0; row < rows; ++row) sum += data[row * columns + column];
    const double mean = sum / static_cast<double>(rows);
    for (int64_t row = 0; row < rows; ++row) squares += std::pow(data[row * columns + column] - mean, 2);
    const double scale = squares > 0 ? deviation / std::sqrt(squares / static_cast<double>(rows)) : 0;
    for (int64_t row = 0; row < rows; ++row) {
      float& value = data[row * columns + column];
      value = static_cast<float>((value - mean) * scale);
    }
  }
}

}  // namespace

void TrainableModel::set_parameters(const Parameters& parameters, const std::function<bool(const Tensor& leaf)>& decays) {
  for (const Parameters::Named& one : parameters.named()) (one.is_trained ? named_ : buffers_).emplace_back(one.name, one.values);
  for (const Tensor& leaf : parameters.leaves()) leaves_.push_back({leaf, decays(leaf), names_in(named_, leaf)});
}

std::vector<double> TrainableModel::write(Run&, const tasks::Example&, int64_t) const {
  fail(ErrorCode::kUnsupported, "a model of type \"{}\" does not generate text during training", facts_.model_type);
}

int64_t TrainableModel::count() const {
  return std::accumulate(leaves_.begin(), leaves_.end(), int64_t{0},
                         [](int64_t sum, const Leaf& leaf) { return sum + leaf.values.numel(); });
}

namespace {

// Checks the settings of a BERT that the shapes of its weights do not determine.
void check_is_that_bert(const std::string& folder, const Json& encoder, const std::string& where) {
  const std::string path = folder + "/config.json";
  const Json bert = Json::parse(read_config(path), path);
  const std::pair<const char*, Json> said[] = {{"model_type", "bert"}, {"num_attention_heads", {}},
                                               {"hidden_act", "gelu"}, {"layer_norm_eps", 1e-12},
                                               {"type_vocab_size", 2}, {"position_embedding_type", "absolute"}};
  for (const auto& [name, otherwise] : said) {
    const Json *theirs = bert.find(name), *ours = encoder.find(name);
    const std::string found = (theirs ? *theirs : otherwise).dump(), expected = (ours ? *ours : otherwise).dump();
    if (found != expected)
      fail(ErrorCode::kUnsupported, "{}: \"{}\" is {}, but the encoder of {} has {}; expected the same value in both", path, name, found,
           where, expected);
  }
}

}  // namespace

void TrainableModel::begin_encoder_at(const tasks::VectorsRecipe& vectors, const Json& model, const std::string& where) {
  if (const Json* encoder = model.find(vectors.parameter); encoder && encoder->is_object())
    check_is_that_bert(model_directory(vectors.from), *encoder, where);
  const io::SafeTensors file = io::SafeTensors::open_model(model_directory(vectors.from));
  const std::string path = vectors.parameter + ".";
  bool any = false;
  for (const auto& [name, values] : named_) {
    const std::string theirs = name.starts_with(path) ? nn::Encoder::name_in_bert(name.substr(path.size())) : "";
    if (theirs.empty()) continue;
    copy_values(file, file.contains(theirs) ? theirs : "bert." + theirs, name, values);
    any = true;
  }
  if (!any) {
    fail(ErrorCode::kNotFound,
         "{}: \"vectors\" has no \"tensor\", and the model has no encoder at \"{}\", such as \"encoder\" of hierarchical_attention", where,
         vectors.parameter);
  }
}

void TrainableModel::begin_at(const tasks::VectorsRecipe& vectors, const Json& model, const std::string& where) {
  if (vectors.tensor.empty()) return begin_encoder_at(vectors, model, where);
  const auto found = std::find_if(named_.begin(), named_.end(), [&](const auto& one) { return one.first == vectors.parameter; });
  if (found == named_.end()) {
    std::string known;
    for (const auto& [name, values] : named_) known += (known.empty() ? "" : ", ") + name;
    fail(ErrorCode::kNotFound, "{}: \"vectors.parameter\" is \"{}\"; the model's parameters are {}", where, vectors.parameter, known);
  }
  const io::SafeTensors file = io::SafeTensors::open_model(model_directory(vectors.from));
  Tensor to = found->second;
  copy_values(file, vectors.tensor, vectors.parameter, to);
  if (vectors.deviation > 0) standardise_columns(to, vectors.deviation);
}

std::unique_ptr<TrainableModel> make_trainable_model(const tasks::Recipe& recipe, const Tokenizer& tokenizer) {
  if (is_network(recipe.model)) return std::make_unique<TrainableNetwork>(recipe, tokenizer);
  return std::make_unique<TrainableTransformer>(recipe, tokenizer);
}

tasks::TaskFacts task_facts(const tasks::Recipe& recipe) {
  Parameters parameters;
  if (const auto network = network_of(recipe.model, recipe.where, parameters)) return facts_of(*network, recipe);
  return facts_of(read_architecture(recipe.model, recipe.where));
}

}  // namespace clearhead::train
