// Caches results by family, layer and head. run() replaces the trace and clears the caches.
#include "viewer/loaded_trace.h"

#include <algorithm>

#include "base/format.h"
#include "clearhead/tokenizer.h"
#include "generate/trace_of.h"
#include "models/input_kind.h"
#include "viewer/words.h"

namespace clearhead::viewer {

LoadedTrace::LoadedTrace(std::shared_ptr<const Trace> trace, Options options)
    : trace_(std::move(trace)), options_(std::move(options)), id_(trace_->id()), words_(words_of(trace_->plan().text)) {}

const FamilyFacts& LoadedTrace::facts(const std::string& family) {
  const std::string wanted = family.empty() ? trace_->main_family() : family;
  const auto found = facts_.find(wanted);
  if (found != facts_.end()) return found->second;
  return facts_[wanted] = find_facts(*trace_, wanted);
}

void LoadedTrace::compute_statistics(const std::string& family, int layer, Range heads, const LookOptions& options) {
  const FamilyFacts& known = facts(family);
  for (HeadStatistics& head : exact_statistics(*trace_, known, layer, heads, options)) {
    const int64_t index = head.scores.head;
    statistics_[{known.shape.name, layer, index}] = std::move(head);
  }
}

const HeadStatistics* LoadedTrace::find_statistics(const std::string& family, int layer, int64_t head) {
  const auto found = statistics_.find({facts(family).shape.name, layer, head});
  return found == statistics_.end() ? nullptr : &found->second;
}

const std::vector<float>& LoadedTrace::sink_masses(const std::string& family, int layer, int64_t head) {
  const FamilyFacts& known = facts(family);
  const HeadKey key_of_head{known.shape.name, layer, head};
  const auto found = sink_masses_.find(key_of_head);
  if (found != sink_masses_.end()) return found->second;
  std::vector<double> sums(static_cast<size_t>(known.queries), 0.0);
  const LayerMap map = trace_->map(known.shape.name, layer);
  for (const int64_t key : known.sinks) {
    const std::vector<float> column = map.column(head, key, {0, known.queries});
    for (size_t i = 0; i < column.size(); ++i) sums[i] += column[i] > 0 ? static_cast<double>(column[i]) : 0.0;
  }
  return sink_masses_[key_of_head] = std::vector<float>(sums.begin(), sums.end());
}

std::string model_name(const RunPlan& plan) {
  std::string name = plan.model;
  while (name.size() > 1 && name.back() == '/') name.pop_back();
  const size_t slash = name.rfind('/');
  const bool is_path = name[0] == '/' || name[0] == '.' || name.starts_with("models/") || name.find('/') != slash;
  if (slash != std::string::npos && is_path) name = name.substr(slash + 1);
  return name;
}

std::shared_ptr<const Model> LoadedTrace::model(bool gradients) {
  if (!options_.model)
    throw NotKept("This is a trace: no model is loaded.", format("clearhead view {} \"your text\"", trace_->plan().model));
  if (gradients && !has_gradients_ && !options_.load.gradients) {
    LoadOptions load = options_.load;
    load.gradients = true;
    options_.model = clearhead::load(options_.model->info().name, load);
    has_gradients_ = true;
  }
  return options_.model;
}

void LoadedTrace::adopt(LoadedTrace&& copy, const std::string& id) {
  if (copy.id_ != id) {
    *this = std::move(copy);
    return;
  }
  if (copy.edited_ && copy.id_ == id_) edited_ = copy.edited_;
  if (copy.has_gradients_ && !has_gradients_) {
    options_.model = copy.options_.model;
    has_gradients_ = true;
  }
}

LoadedTrace& LoadedTrace::edited(const std::string& id) const {
  if (!edited_ || edited_->id() != id) fail(ErrorCode::kStale, "edited={}: a newer edit replaced this one; call api/what-if again.", id);
  return *edited_;
}

ModelInput LoadedTrace::given() const {
  if (options_.input) return *options_.input;
  const RunText& text = trace_->plan().text;
  for (const TextSegment& segment : text.segments) {
    const bool is_second = (segment.name == "second" || segment.name == "target") && segment.begin > 0;
    if (!is_second) continue;
    int64_t from = static_cast<int64_t>(text.text.size());  // start of its first token with text
    for (int64_t id = segment.end; id-- > segment.begin;) {
      if (!text.special[static_cast<size_t>(id)]) from = text.offsets[static_cast<size_t>(id)][0];
    }
    from = static_cast<int64_t>(text.text.rfind('\n', static_cast<size_t>(from)));
    if (from < 0) continue;
    return {.text = text.text.substr(0, static_cast<size_t>(from)), .pair = text.text.substr(static_cast<size_t>(from) + 1)};
  }
  return {.text = text.text};
}

void LoadedTrace::run(const std::string& text, const std::optional<std::string>& pair,
                      const std::function<void(double, const std::string&)>& progress, const std::atomic<bool>* cancel) {
  const std::shared_ptr<const Model> reader = model();
  if (!input_kind(reader->info()).is_text())
    fail(ErrorCode::kUnsupported, "{}: this model reads a {}; for another one, run `clearhead view {} INPUT`", reader->info().name,
         reader->info().reads, reader->info().name);
  TraceRequest request{
      .input = {.text = text, .pair = pair}, .options = options_.trace, .logits = true, .progress = progress, .cancel = cancel};
  TracedInput traced = reading_typed(*reader, text, [&] { return trace_of(*reader, request); });
  Trace& trace = traced.trace;
  Options options = options_;
  options.answers = explain::main_answers(*reader, traced.result, trace.plan().text);
  const std::string quoted = text.size() <= 80 && text.find_first_of("'\n") == std::string::npos ? format("'{}'", text) : "--file TEXT";
  options.command = format("clearhead view {} {}{}", trace.plan().model, quoted, pair ? " --pair TEXT" : "");
  const bool has_gradients = has_gradients_;
  *this = LoadedTrace(std::make_shared<const Trace>(std::move(trace)), std::move(options));
  has_gradients_ = has_gradients;
}

}  // namespace clearhead::viewer
