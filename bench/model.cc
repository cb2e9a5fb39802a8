#include "bench/model.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>

#include "backends/cpu/cpu.h"
#include "backends/cpu/dispatch.h"
#include "backends/cpu/limits.h"
#include "backends/cpu/simd/items.h"
#include "backends/registry.h"
#include "base/format.h"
#include "base/json.h"
#include "base/parallel.h"
#include "bench/random_model.h"
#include "clearhead/error.h"
#include "clearhead/model.h"

namespace clearhead::bench {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

constexpr const char* kMiniLm =
    R"({"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
    "intermediate_size": 1536, "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_act": "gelu"})";
constexpr const char* kBertBase =
    R"({"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
    "intermediate_size": 3072, "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_act": "gelu"})";
constexpr const char* kGpt2Small =
    R"({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257,
    "n_positions": 2048, "activation_function": "gelu_new"})";

enum class Kind : uint8_t { kRun, kPrefill, kDecode, kLoad };
enum class Watch : uint8_t { kNobody, kNothing, kEverything };
struct Plan {
  std::string name{}, model{};
  Kind kind = Kind::kRun;
  int64_t batch = 1, length = 0;
  Watch watch = Watch::kNobody;
  DType precision = DType::kF32;
};

// Observes every layer or none, and keeps the records of one run.
class Watcher : public Observer {
 public:
  explicit Watcher(bool wanted) : wanted_(wanted) {}
  void begin(const RunPlan&) override { kept_.clear(); }
  bool wants(const Site&) override { return wanted_; }
  void take(const Site&, const AttentionRecord& record, const KeyNorms&) override { kept_.push_back(record); }

 private:
  bool wanted_;
  std::vector<AttentionRecord> kept_;
};

std::vector<Plan> plans() {
  std::vector<Plan> all;
  for (const auto& [batch, length] : {std::pair<int64_t, int64_t>{1, 32}, {1, 128}, {32, 128}}) {
    all.push_back({format("run/minilm/{}x{}", batch, length), "minilm", Kind::kRun, batch, length});
  }
  all.push_back({"watched/minilm/1x128", "minilm", Kind::kRun, 1, 128, Watch::kNothing});
  all.push_back({"kept/minilm/1x128", "minilm", Kind::kRun, 1, 128, Watch::kEverything});
  all.push_back({"load/minilm", "minilm", Kind::kLoad, 1, 0});
  all.push_back({"run/bert-base/1x512", "bert-base", Kind::kRun, 1, 512});
  all.push_back({"run/bert-base/8x128", "bert-base", Kind::kRun, 8, 128});
  all.push_back({"prefill/gpt2-small/1024", "gpt2-small", Kind::kPrefill, 1, 1024});
  all.push_back({"decode/gpt2-small/128", "gpt2-small", Kind::kDecode, 1, 128});
  all.push_back({"decode/gpt2-small/1024", "gpt2-small", Kind::kDecode, 1, 1024});
  const std::vector<Plan> in_f32 = all;
  for (Plan plan : in_f32) {
    if (plan.kind == Kind::kLoad || plan.watch != Watch::kNobody) continue;
    plan.name += "/bf16";
    plan.precision = DType::kBF16;
    all.push_back(plan);
  }
  return all;
}

// Folders of the models, written on first use.
class Folders {
 public:
  explicit Folders(const ModelOptions& options) : options_(options), root_(options.models) {
    if (!root_.empty()) return;
    root_ = (std::filesystem::temp_directory_path() / format("clearhead-bench-{}", Clock::now().time_since_epoch().count())).string();
    is_temporary_ = true;
  }
  ~Folders() {
    std::error_code ignored;
    if (is_temporary_) std::filesystem::remove_all(root_, ignored);
  }
  Folders(const Folders&) = delete;
  Folders& operator=(const Folders&) = delete;

  std::string of(const std::string& model) const {
    if (model == "minilm" && !options_.minilm.empty()) return options_.minilm;
    const std::string folder = root_ + "/" + model;
    const char* config = model == "minilm" ? kMiniLm : model == "bert-base" ? kBertBase : kGpt2Small;
    if (!std::filesystem::exists(folder + "/config.json")) write_random_model(folder, config, 1);
    return folder;
  }

 private:
  const ModelOptions& options_;
  std::string root_;
  bool is_temporary_ = false;
};

Batch random_tokens(int64_t batch, int64_t length, int64_t vocabulary) {
  Batch tokens;
  tokens.batch = batch;
  tokens.length = length;
  for (int64_t i = 0; i < batch * length; ++i) tokens.ids.push_back(static_cast<int32_t>(1000 + i * 7919 % (vocabulary - 1000)));
  return tokens;
}

// Number of elements of the matrices that multiply every token.
double matrix_elements(const ModelInfo& info) {
  const double width = static_cast<double>(info.width), heads = static_cast<double>((2 * info.heads + 2 * info.key_heads) * info.head_dim);
  return static_cast<double>(info.layers) * width * (heads + 2 * static_cast<double>(info.mlp_width));
}

double flops(const ModelInfo& info, const Plan& plan) {
  const double tokens = static_cast<double>(plan.batch * plan.length), length = static_cast<double>(plan.length);
  const double pairs = static_cast<double>(plan.batch) * (info.causal ? length * (length + 1) / 2 : length * length);
  const double attention = 4 * pairs * static_cast<double>(info.layers * info.heads * info.head_dim);
  const double head = plan.kind == Kind::kPrefill ? 2 * static_cast<double>(info.width * info.vocabulary) : 0;
  return 2 * tokens * matrix_elements(info) + attention + head;
}

double decode_bytes(const ModelInfo& info, const Plan& plan) {
  const double keys = 2 * static_cast<double>(plan.length * info.layers * info.key_heads * info.head_dim);
  return static_cast<double>(size_of(plan.precision)) * (matrix_elements(info) + static_cast<double>(info.width * info.vocabulary) + keys);
}

InstructionSet limit_isa() { return backend().isa == InstructionSet::kAvx2 ? InstructionSet::kAvx2 : InstructionSet::kAvx512; }

// Returns whether the limit is the peak of the bf16 instruction: for models in bf16, if the machine has it.
bool is_of_bf16(const Plan& plan) {
  return plan.precision == DType::kBF16 && backend().isa == InstructionSet::kAvx512 && cpu::bf16_products() != cpu::Products::kF32;
}

double peak(bool of_bf16) {
  constexpr int64_t kBurst = 4'000'000;
  std::vector<double> rates(static_cast<size_t>(threads()));
  parallel_for(threads(), [&](int64_t item, int) {
    double done = 0;
    const double seconds = of_bf16 ? cpu::bf16_burst(&done) : cpu::fma_burst(limit_isa(), kBurst, &done);
    rates[static_cast<size_t>(item)] = done / seconds;
  });
  double sum = 0;
  for (const double rate : rates) sum += rate;
  return sum;
}

double read_rate(const Tensor& memory) {
  constexpr int64_t kPage = 4096;
  const int64_t part = static_cast<int64_t>(memory.bytes()) / threads() / kPage * kPage;
  std::vector<float> sums(static_cast<size_t>(threads()));
  const auto start = Clock::now();
  parallel_for(threads(), [&](int64_t item, int) {
    sums[static_cast<size_t>(item)] = cpu::read_bytes(limit_isa(), memory.data<float>() + item * part / 4, part);
  });
  return static_cast<double>(part * threads()) / seconds_since(start);
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<int64_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

ModelCase measure_compute(const Plan& plan, const Model& model, double seconds, ModelBench& bench) {
  const Batch tokens = random_tokens(plan.batch, plan.length, model.info().vocabulary);
  const bool prefill = plan.kind == Kind::kPrefill;
  Watcher watcher(plan.watch == Watch::kEverything);
  Observer* observer = plan.watch == Watch::kNobody ? nullptr : &watcher;
  const auto once = [&] {
    ModelCache cache{.dtype = plan.precision};
    return prefill ? model.step(tokens.ids, cache, {.last_logits_only = true}) : model.run(tokens, {.observer = observer, .logits = false});
  };
  (void)once();
  const bool of_bf16 = is_of_bf16(plan);
  ModelCase result{plan.name, 1e30, flops(model.info(), plan), of_bf16 ? "bf16" : "fma", 0, 0};
  double best = 0;
  const auto begin = Clock::now();
  for (int repetition = 0; repetition < 3 || seconds_since(begin) < seconds; ++repetition) {
    best = std::max(best, peak(of_bf16));
    const auto start = Clock::now();
    (void)once();
    result.seconds = std::min(result.seconds, seconds_since(start));
  }
  if (!of_bf16) bench.fma_flops = std::max(bench.fma_flops, best);
  result.fraction_of_limit = result.work / result.seconds / best;
  result.tokens_per_second = static_cast<double>(plan.batch * plan.length) / result.seconds;
  return result;
}

ModelCase measure_decode(const Plan& plan, const Model& model, double seconds, ModelBench& bench) {
  const Batch tokens = random_tokens(1, plan.length, model.info().vocabulary);
  ModelCache cache{.dtype = plan.precision};
  (void)model.step(tokens.ids, cache, {.last_logits_only = true});
  (void)model.step({1000}, cache, {});
  const Tensor other = Tensor::zeros({int64_t{64} << 20});
  ModelCase result{plan.name, 0, decode_bytes(model.info(), plan), "read", 0, 0};
  std::vector<double> times, fractions, rates;
  const auto begin = Clock::now();
  while (times.size() < 5 || (seconds_since(begin) < seconds && cache.length + 1 < model.info().longest)) {
    const auto start = Clock::now();
    (void)model.step({1000}, cache, {});
    times.push_back(seconds_since(start));
    rates.push_back(read_rate(other));
    fractions.push_back(result.work / times.back() / rates.back());
  }
  result.seconds = median(times);
  result.fraction_of_limit = median(fractions);
  result.tokens_per_second = 1 / result.seconds;
  bench.read_bytes = median(rates);
  return result;
}

ModelCase measure_load(const Plan& plan, const std::string& folder) {
  ModelCase result{plan.name, 1e30, 0, "", 0, 0};
  for (int repetition = 0; repetition < 3; ++repetition) {
    const auto start = Clock::now();
    (void)load(folder, {.tokenizer = false});
    result.seconds = std::min(result.seconds, seconds_since(start));
  }
  return result;
}

}  // namespace

ModelBench run_model(const ModelOptions& options) {
  ModelBench bench;
  bench.isa = to_string(backend().isa);
  bench.threads = threads();
  const Folders folders(options);
  std::string loaded;
  std::shared_ptr<const Model> model;
  std::vector<Plan> wanted = plans();
  std::erase_if(wanted, [&](const Plan& plan) {
    const auto named = [&](const std::string& filter) { return plan.name.find(filter) != std::string::npos; };
    return !options.filters.empty() && std::none_of(options.filters.begin(), options.filters.end(), named);
  });
  for (const Plan& plan : wanted) {
    if (options.progress) options.progress(static_cast<double>(bench.cases.size()) / static_cast<double>(wanted.size()));
    const std::string folder = folders.of(plan.model);
    if (plan.kind == Kind::kLoad) {
      bench.cases.push_back(measure_load(plan, folder));
      continue;
    }
    if (const std::string wanted_model = folder + to_string(plan.precision); loaded != wanted_model) {
      model.reset();
      model = load(folder, {.tokenizer = false, .precision = plan.precision});
      loaded = wanted_model;
    }
    const bool decodes = plan.kind == Kind::kDecode;
    bench.cases.push_back(decodes ? measure_decode(plan, *model, options.seconds_per_case, bench)
                                  : measure_compute(plan, *model, options.seconds_per_case, bench));
  }
  if (bench.cases.empty()) fail(ErrorCode::kNotFound, "bench model: no case has such a name; `bench model` without a filter lists all");
  return bench;
}

std::string to_json(const ModelBench& bench) {
  Json cases = Json::array();
  for (const ModelCase& item : bench.cases) {
    cases.push(Json::object({{"name", item.name},
                             {"seconds", item.seconds},
                             {"work", item.work},
                             {"limit", item.limit},
                             {"fraction_of_limit", item.fraction_of_limit},
                             {"tokens_per_second", item.tokens_per_second}}));
  }
  return Json::object({{"isa", bench.isa},
                       {"threads", bench.threads},
                       {"limits", Json::object({{"fma_flops", bench.fma_flops}, {"read_bytes", bench.read_bytes}})},
                       {"cases", cases}})
      .dump();
}

std::string to_text(const ModelBench& bench) {
  std::string text = format("{}, {} threads: FMA {:.0f} GF/s, read {:.1f} GB/s\n", bench.isa, bench.threads, bench.fma_flops / 1e9,
                            bench.read_bytes / 1e9);
  for (const ModelCase& item : bench.cases) {
    text += format("{:<26} {:>10.3f} ms", item.name, item.seconds * 1e3);
    if (!item.limit.empty())
      text += format("  {:>9.0f} tokens/s  {:>5.1f} % of {}", item.tokens_per_second, item.fraction_of_limit * 100, item.limit);
    text += "\n";
  }
  return text;
}

}  // namespace clearhead::bench
