// What is asked of each kind of model: where its answer stands among its logits, and what its run reads. Sets of removed items run in batches: a token that is not
// seen is one of a document of its own, as padding is.
#include "judge/subject.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "base/format.h"
#include "base/nearest.h"
#include "base/utf8.h"
#include "clearhead/error.h"
#include "clearhead/generate.h"
#include "generate/parts.h"
#include "judge/asked.h"
#include "judge/joined_steps.h"
#include "judge/listener.h"
#include "judge/sides.h"
#include "models/reading.h"
#include "ops/run_compute.h"
#include "text/strings.h"

namespace clearhead::judge {
namespace {

constexpr int64_t kTokensTogether = 8192;  // of a batch of edited inputs

int32_t largest(const float* logits, int64_t count) { return static_cast<int32_t>(std::max_element(logits, logits + count) - logits); }

// One row of every state, the last before the final norm.
Tensor states_of(const RunResult& result, int64_t row) {
  std::vector<Tensor> all = result.all_hidden;
  all.back() = result.residual;
  const int64_t width = all.front().size(2);
  Tensor out = Tensor::empty({static_cast<int64_t>(all.size()), width});
  for (size_t at = 0; at < all.size(); ++at)
    std::copy_n(all[at].data<float>() + row * width, width, out.mutable_data<float>() + static_cast<int64_t>(at) * width);
  return out;
}

// One text, or a pair read together, by a model that is no encoder-decoder.
class TextSubject final : public Subject {
 public:
  TextSubject(std::shared_ptr<const Model> model, Encoding encoding, const Asked& asked, const std::optional<std::string>& text,
              const std::optional<std::string>& pair)
      : Subject(std::move(model)), encoding_(std::move(encoding)) {
    const ModelInfo& info = model_->info();
    if (encoding_.ids.empty()) fail(ErrorCode::kInvalidArgument, "{}: the text has no token", info.name);
    place(asked);
    RunOptions named;
    named.text = text;
    named.pair = pair;
    plan_ = model_->plan_of(encoding_, named);
    side_ = plan_.families.front().name;
    const int64_t tokens = static_cast<int64_t>(encoding_.ids.size());
    const bool is_classifier = kind_ == Kind::kClass;
    row_ = is_classifier ? (info.reads_last ? tokens - 1 : 0) : row_;
    rows_ = {row_};
    begin_with_tokens(row_);
    const Tensor logits = logits_of(model_->run(batch({encoding_.ids}, {}), run_options(nullptr, {}, 1)));
    settle(logits.data<float>(), logits.size(1), asked);
  }

  std::vector<double> answers(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const override {
    std::vector<double> out;
    const size_t together = static_cast<size_t>(std::max<int64_t>(1, kTokensTogether / static_cast<int64_t>(encoding_.ids.size())));
    const int32_t mask = how == RemovedBy::kMasked ? hiding_token() : 0;
    for (size_t begin = 0; begin < removed.size(); begin += together) {
      const size_t end = std::min(removed.size(), begin + together);
      std::vector<std::vector<int32_t>> ids;
      std::vector<std::vector<uint8_t>> hidden;
      for (size_t set = begin; set < end; ++set) {
        const std::vector<uint8_t> away = removed_ids(removed[set]);
        ids.push_back(encoding_.ids);
        if (how == RemovedBy::kUnseen) {
          hidden.push_back(away);
          continue;
        }
        for (size_t id = 0; id < away.size(); ++id) {
          if (away[id]) ids.back()[id] = mask;
        }
      }
      const Tensor logits = logits_of(model_->run(batch(ids, hidden), run_options(nullptr, {}, static_cast<int64_t>(end - begin))));
      for (int64_t row = 0; row < logits.size(0); ++row)
        out.push_back(probability_of(logits.data<float>() + row * logits.size(1), logits.size(1)));
    }
    return out;
  }

  Outcome run(Observer* observer, const Interventions& interventions) const override {
    RunOptions options = run_options(observer, interventions, 1);
    options.text = plan_.text.text;
    const Tensor logits = logits_of(model_->run(encoding_, options));
    return outcome_of(logits.data<float>(), logits.size(1));
  }

  std::vector<double> mixed_norms(int layer) const override { return model_->mixed_norms(encoding_, layer, row_); }

  Tensor states() const override {
    RunOptions options = run_options(nullptr, {}, 1);
    options.all_hidden = true;
    return states_of(model_->run(batch({encoding_.ids}, {}), options), row_);
  }

  double differentiate(InputTape& tape, Observer* observer, const Interventions& interventions, Number number) const override {
    RunOptions options = run_options(observer, interventions, 1);
    options.recorder = &tape;
    return backward(tape, logits_of(model_->run(batch({encoding_.ids}, {}), options)), number);
  }

 private:
  enum class Kind : uint8_t { kClass, kTag, kNext, kMasked };

  void place(const Asked& asked) {
    const ModelInfo& info = model_->info();
    const auto tokens = static_cast<int64_t>(encoding_.ids.size());
    const std::optional<int64_t> at = place_in(asked.of);
    if (at && (*at >= tokens || (info.has_causal && *at < 1)))
      fail(ErrorCode::kNotFound, "{}: token {} of a text of {} tokens{}", info.name, *at, tokens,
           info.has_causal ? "; the first has none before it" : "");
    if (info.has_classifier && info.tags) {
      if (!at) fail(ErrorCode::kInvalidArgument, "{}: a model that tags is asked about one token: \"token N\"", info.name);
      kind_ = Kind::kTag;
      row_ = *at;
    } else if (info.has_classifier && !info.answers) {
      kind_ = Kind::kClass;
    } else if (info.has_causal) {
      kind_ = Kind::kNext;
      if (at) {
        of_ = encoding_.ids[static_cast<size_t>(*at)];
        keep_first(encoding_, static_cast<size_t>(*at));
      }
      row_ = static_cast<int64_t>(encoding_.ids.size()) - 1;
    } else if (info.has_masked) {
      kind_ = Kind::kMasked;
      const std::optional<int32_t> mask = model_->tokenizer().special_tokens().mask;
      const auto found = mask ? std::find(encoding_.ids.begin(), encoding_.ids.end(), *mask) : encoding_.ids.end();
      if (found == encoding_.ids.end()) {
        fail(ErrorCode::kInvalidArgument,
             "{}: what stands at the mask is explained, and the text has none; write {} where a word is missing", info.name,
             mask ? std::string(model_->tokenizer().token(*mask)) : "a mask token");
      }
      row_ = found - encoding_.ids.begin();
    } else {
      fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" gives no class and no word that could be explained", info.name,
           info.model_type);
    }
  }

  // From the names to numbers, now that the logits are known.
  void settle(const float* logits, int64_t count, const Asked& asked) {
    const ModelInfo& info = model_->info();
    stands_alone_ = kind_ == Kind::kClass && info.problem == ProblemType::kMultiLabel;
    if (kind_ == Kind::kClass && info.problem == ProblemType::kRegression)
      fail(ErrorCode::kUnsupported, "{}: a model that gives numbers, not classes, is not explained yet", info.name);
    const bool is_label = kind_ == Kind::kClass || kind_ == Kind::kTag;
    const auto named = [&](const std::string& name) {
      return is_label ? label_named(info, name) : token_named(*model_, name, kind_ == Kind::kNext);
    };
    const bool is_named = !asked.of.empty() && !place_in(asked.of);
    if (is_named) of_ = named(asked.of);
    if (asked.of_id) of_ = *asked.of_id;
    if (of_ < 0) of_ = largest(logits, count);
    against_ = asked.against.empty() ? asked.against_id.value_or(-1) : named(asked.against);
    check_answer(count);
    const auto spelling = [&](int32_t at) { return is_label ? quoted(info.labels[static_cast<size_t>(at)]) : spelled(*model_, at); };
    const char* what = kind_ == Kind::kClass  ? "class"
                       : kind_ == Kind::kTag  ? "tag"
                       : kind_ == Kind::kNext ? "next token"
                                              : "word at the mask";
    answer_ = format("{} {}", what, spelling(of_)) + (against_ >= 0 ? " against " + spelling(against_) : "");
    probability_ = probability_of(logits, count);
  }

  TokenBatch batch(const std::vector<std::vector<int32_t>>& ids, const std::vector<std::vector<uint8_t>>& hidden) const {
    TokenBatch out{.batch = static_cast<int64_t>(ids.size()), .length = static_cast<int64_t>(encoding_.ids.size())};
    for (size_t set = 0; set < ids.size(); ++set) {
      out.ids.insert(out.ids.end(), ids[set].begin(), ids[set].end());
      if (model_->info().type_count > 0) out.type_ids.insert(out.type_ids.end(), encoding_.type_ids.begin(), encoding_.type_ids.end());
      for (size_t id = 0; !hidden.empty() && id < ids[set].size(); ++id) out.document_ids.push_back(hidden[set][id] ? -1 : 0);
    }
    return out;
  }

  RunOptions run_options(Observer* observer, const Interventions& interventions, int64_t sets) const {
    RunOptions options{.observer = observer, .last_logits_only = kind_ == Kind::kNext, .interventions = interventions};
    if (kind_ == Kind::kMasked) {
      options.masked_rows.emplace();
      for (int64_t set = 0; set < sets; ++set)
        options.masked_rows->push_back(static_cast<int32_t>(set * static_cast<int64_t>(encoding_.ids.size()) + row_));
    }
    return options;
  }

  // [set, count], a view.
  Tensor logits_of(const RunResult& result) const {
    switch (kind_) {
      case Kind::kClass: return result.class_logits;
      case Kind::kTag: return result.class_logits.select(1, row_);
      case Kind::kNext: return result.causal_logits.select(1, 0);
      case Kind::kMasked: break;
    }
    return result.masked_logits;
  }

  Encoding encoding_{};
  Kind kind_ = Kind::kClass;
  int64_t row_ = 0;
};

// A source, and what was written from it before one token: it begins with the model's first token.
struct Pair {
  Encoding source{}, target{};
  std::string source_text{}, target_text{};
  std::optional<int32_t> of{}, against{};
};

Pair written_pair(const Model& model, const std::string& source, const Asked& asked, const std::optional<std::string>& given) {
  const ReadAndWritten both = read_and_write(model, source, given);
  Pair out{.source = both.source, .source_text = source};
  const WrittenText& target = both.target;
  const auto at = static_cast<size_t>(written_token(model, asked.of, target));
  out.of = target.encoding.ids[at + 1];
  out.target = target.encoding;
  keep_first(out.target, at + 1);
  out.target_text = target.text.substr(0, static_cast<size_t>(out.target.offsets.back()[1]));
  if (!asked.against.empty()) out.against = token_named(model, asked.against, at > 0);
  return out;
}

class PairSubject final : public Subject {
 public:
  PairSubject(std::shared_ptr<const Model> model, Pair pair) : Subject(std::move(model)), pair_(std::move(pair)) {
    if (source().ids.empty() || target().ids.empty())
      fail(ErrorCode::kInvalidArgument, "{}: the source or what was written before has no token", model_->info().name);
    rows_ = {static_cast<int64_t>(target().ids.size()) - 1};
    const Tensor logits = last_row(model_->run_from(source(), target(), {}));
    of_ = pair_.of.value_or(largest(logits.data<float>(), logits.size(1)));
    against_ = pair_.against.value_or(-1);
    check_answer(logits.size(1));
    answer_ = format("{} after {}", spelled(*model_, of_), pair_.target_text.empty() ? "nothing" : quoted(pair_.target_text)) +
              (against_ >= 0 ? " against " + spelled(*model_, against_) : "");
    struct Heard final : Listener {
      RunPlan plan{};
      void begin(const RunPlan& of) override { plan = of; }
    } heard;
    probability_ = run(&heard, {}).probability;
    plan_ = heard.plan;
    side_ = has_family("dec") ? "dec" : "target";
    begin_with_tokens(static_cast<int64_t>(plan_.text.ids.size()) - 1);
  }

  std::vector<double> answers(const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) const override {
    std::vector<double> out;
    for (const std::vector<uint8_t>& set : removed) {
      const std::vector<uint8_t> away = removed_ids(set);
      const auto sources = static_cast<int64_t>(source().ids.size());
      if (how == RemovedBy::kUnseen) {
        Interventions hidden;
        for (int64_t id = 0; id < static_cast<int64_t>(away.size()); ++id) {
          if (!away[static_cast<size_t>(id)]) continue;
          const int64_t targets = static_cast<int64_t>(target().ids.size()), at = id < sources ? id : id - sources;
          if (id < sources && has_family("enc")) hidden.knockouts.push_back({{0, sources}, {at, at + 1}, {}, {}, "enc"});
          if (id < sources) hidden.knockouts.push_back({{0, targets}, {at, at + 1}, {}, {}, "cross"});
          if (id >= sources && has_family("dec")) hidden.knockouts.push_back({{0, targets}, {at, at + 1}, {}, {}, "dec"});
        }
        out.push_back(run(nullptr, hidden).probability);
        continue;
      }
      Encoding edited = source(), before = target();
      for (int64_t id = 0; id < static_cast<int64_t>(away.size()); ++id) {
        if (away[static_cast<size_t>(id)])
          (id < sources ? edited.ids[static_cast<size_t>(id)] : before.ids[static_cast<size_t>(id - sources)]) = hiding_token();
      }
      out.push_back(outcome_at(model_->run_from(edited, before, {})).probability);
    }
    return out;
  }

  Outcome run(Observer* observer, const Interventions& interventions) const override {
    return outcome_at(model_->run_from(source(), target(), options(observer, interventions)));
  }

  Tensor states() const override {
    if (!has_family("dec")) return Subject::states();
    RunOptions all = options(nullptr, {});
    all.all_hidden = true;
    return states_of(model_->run_from(source(), target(), all), rows_[0]);
  }

  double differentiate(InputTape& tape, Observer* observer, const Interventions& interventions, Number number) const override {
    JoinedSteps joined(observer);
    RunOptions recorded = options(observer ? &joined : nullptr, interventions);
    recorded.recorder = &tape;
    const double y = backward(tape, last_row(model_->run_from(source(), target(), recorded)), number);
    joined.finish();
    return y;
  }

 private:
  bool has_family(const char* name) const {
    return std::any_of(plan_.families.begin(), plan_.families.end(), [&](const MapFamily& family) { return family.name == name; });
  }
  RunOptions options(Observer* observer, const Interventions& interventions) const {
    return {.observer = observer, .text = pair_.target_text, .source = pair_.source_text, .interventions = interventions};
  }
  Tensor last_row(const RunResult& result) const { return result.causal_logits.select(0, 0).slice(0, rows_[0], rows_[0] + 1); }
  Outcome outcome_at(const RunResult& result) const {
    const Tensor row = last_row(result);
    return outcome_of(row.data<float>(), row.size(1));
  }
  const Encoding& source() const { return pair_.source; }
  const Encoding& target() const { return pair_.target; }

  Pair pair_;
};

// The family whose keys are what is explained: cross-attention if there is one, else the first whose keys hold an item.
const MapFamily& family_looked_at(const Subject& subject) {
  const auto& families = subject.plan().families;
  const auto holds_item = [&](const MapFamily& family) {
    const int64_t first = family.is_part ? family.first_key : 0, item = subject.items().empty() ? 0 : subject.items().front().begin;
    return item >= first && item < first + family.keys;
  };
  const auto cross = std::find_if(families.begin(), families.end(), [](const MapFamily& family) { return family.name == "cross"; });
  const auto found = cross != families.end() ? cross : std::find_if(families.begin(), families.end(), holds_item);
  if (found == families.end()) fail(ErrorCode::kUnsupported, "no attention of this model has what is explained as its keys");
  return *found;
}

}  // namespace

Site looked_at(const Subject& subject, std::optional<int> wanted) {
  const MapFamily& family = family_looked_at(subject);
  const int64_t layer = wanted.value_or(family.layers - 1);
  if (layer < 0 || layer >= family.layers) fail(ErrorCode::kInvalidArgument, "layer {} of {}; layers count from 0", layer, family.layers);
  return {.family = family.name, .layer = static_cast<int>(layer)};
}

int32_t label_named(const ModelInfo& info, const std::string& name) {
  const auto matches = [&](const std::string& label) { return text::lower(label) == text::lower(name); };
  const auto found = std::find_if(info.labels.begin(), info.labels.end(), matches);
  if (found != info.labels.end()) return static_cast<int32_t>(found - info.labels.begin());
  const std::vector<std::string_view> labels(info.labels.begin(), info.labels.end());
  std::string first;
  for (size_t i = 0; i < std::min<size_t>(labels.size(), 8); ++i) first += (i ? ", " : "") + quoted(labels[i]);
  fail(ErrorCode::kNotFound, "{}: there is no class {}{}; its {} classes {} {}", info.name, quoted(name), nearest_hint(name, labels, 1),
       labels.size(), labels.size() > 8 ? "begin with" : "are", first);
}

const char* to_string(RemovedBy how) { return how == RemovedBy::kUnseen ? "unseen" : "masked"; }

Subject::Outcome Subject::outcome_of(const float* logits, int64_t count) const {
  const auto at = [&](int32_t id) { return static_cast<double>(logits[id]); };
  const double y = at(of_) - (against_ >= 0 ? at(against_) : 0);
  if (against_ >= 0 || stands_alone_) return {y, 1 / (1 + std::exp(-y))};
  const double most = at(largest(logits, count));
  double sum = 0;
  for (int64_t id = 0; id < count; ++id) sum += std::exp(at(static_cast<int32_t>(id)) - most);
  return {y, std::exp(y - most) / sum};
}

void Subject::check_answer(int64_t count) const {
  const std::string& name = model_->info().name;
  if (of_ >= count || against_ >= count || of_ < 0)
    fail(ErrorCode::kNotFound, "{}: answer {} of {}; they count from 0", name, of_ < 0 || of_ >= count ? of_ : against_, count);
  if (of_ == against_) fail(ErrorCode::kInvalidArgument, "{}: an answer against itself; give two different ones", name);
}

double Subject::backward(InputTape& tape, const Tensor& logits, Number number) const {
  Arena arena;
  Run run{.arena = arena, .recorder = &tape, .evaluates = true};
  RunCompute compute(run);
  const auto at = [&](int32_t id) { return logits.slice(1, id, id + 1); };
  const auto times = [&](const Tensor& x, double factor) {
    return compute.multiply(x, Tensor::from<float>({static_cast<float>(factor)}, {1, 1}));
  };
  const bool is_softmax = against_ < 0 && !stands_alone_;
  if (number == Number::kLogProbability && is_softmax) {
    const Tensor loss = times(compute.cross_entropy(logits, {of_}).reshape({1, 1}), -1);
    const double value = static_cast<double>(*loss.data<float>());
    tape.backward(loss);
    return value;
  }
  Tensor y = against_ >= 0 ? compute.add(at(of_), times(at(against_), -1)) : at(of_);
  const double value = static_cast<double>(*y.data<float>());
  if (number == Number::kY) {
    tape.backward(y);
    return value;
  }
  const double probability = 1 / (1 + std::exp(-value));
  tape.backward(times(y, 1 - probability));  // d ln σ(y)/dy
  return std::log(probability);
}

void Subject::begin_with(std::vector<Range> items) {
  items_ = std::move(items);
  may_go_.assign(plan_.text.ids.size(), 0);
  for (const Range& item : items_) std::fill(may_go_.begin() + item.begin, may_go_.begin() + item.end, uint8_t{1});
}

void Subject::begin_with_tokens(int64_t but) {
  const RunText& text = plan_.text;
  std::vector<Range> items;
  for (int64_t id = 0; id < text.tokens(); ++id) {
    if (!text.special[static_cast<size_t>(id)] && id != but) items.push_back({id, id + 1});
  }
  begin_with(std::move(items));
}

void Subject::set_items(std::vector<Range> items) {
  std::vector<uint8_t> taken(may_go_.size());
  for (const Range& item : items) {
    bool any = false;
    for (int64_t id = item.begin; id < item.end; ++id) {
      if (id < 0 || id >= static_cast<int64_t>(taken.size()) || taken[static_cast<size_t>(id)])
        fail(ErrorCode::kInvalidArgument, "item [{}, {}) is outside the text, or overlaps another", item.begin, item.end);
      taken[static_cast<size_t>(id)] = 1;
      any = any || may_go_[static_cast<size_t>(id)];
    }
    if (!any) fail(ErrorCode::kInvalidArgument, "item [{}, {}) holds no token that could be taken away", item.begin, item.end);
  }
  items_ = std::move(items);
}

std::vector<double> Subject::by_item(const std::vector<double>& of_ids) const {
  std::vector<double> out;
  for (const Range& item : items_) {
    double sum = 0;
    for (auto id = static_cast<size_t>(item.begin); id < static_cast<size_t>(item.end); ++id) sum += may_go_[id] ? of_ids[id] : 0;
    out.push_back(sum);
  }
  return out;
}

Range ids_of_side(const RunPlan& plan, const std::string& side) {
  for (const ItemRange& items : plan.text.items) {
    if (items.kind == side) return {items.begin, items.end};
  }
  for (const TextSegment& segment : plan.text.segments) {
    if (segment.name == side) return {segment.begin, segment.end};
  }
  for (const MapFamily& family : plan.families) {
    if (family.name == side) return family.is_part ? Range{family.first_key, family.first_key + family.keys} : Range{0, family.keys};
  }
  return {};
}

std::optional<int32_t> masking_token(const Tokenizer& tokenizer) {
  const SpecialTokens& special = tokenizer.special_tokens();
  for (const std::optional<int32_t>& id : {special.mask, special.unk, special.pad, special.eos}) {
    if (id) return id;
  }
  return std::nullopt;
}

int32_t Subject::hiding_token() const {
  if (const std::optional<int32_t> id = masking_token(model_->tokenizer())) return *id;
  fail(ErrorCode::kUnsupported, "{}: its tokenizer has no mask, unknown or padding token to put in place of others; take them away unseen",
       model_->info().name);
}

std::vector<double> Subject::mixed_norms(int) const {
  fail(ErrorCode::kUnsupported, "{}: the residual stream is taken apart in models that read one text", model_->info().name);
}

Tensor Subject::states() const {
  fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" has no residual stream", model_->info().name, model_->info().model_type);
}

std::vector<uint8_t> Subject::removed_ids(const std::vector<uint8_t>& removed) const {
  if (removed.size() != items_.size())
    fail(ErrorCode::kShape, "judge: {} flags for {} items; expected one for each", removed.size(), items_.size());
  std::vector<uint8_t> ids(may_go_.size());
  for (size_t item = 0; item < items_.size(); ++item) {
    for (auto id = static_cast<size_t>(items_[item].begin); removed[item] && id < static_cast<size_t>(items_[item].end); ++id)
      ids[id] = may_go_[id];
  }
  return ids;
}

std::unique_ptr<Subject> ask_about(std::shared_ptr<const Model> model, const std::string& text, const Asked& asked,
                                   const std::optional<std::string>& pair) {
  const ModelInfo& info = model->info();
  if (info.reads == "pair" || info.encoder_layers > 0) {
    Pair written = written_pair(*model, text, asked, pair);
    return std::make_unique<PairSubject>(std::move(model), std::move(written));
  }
  if (info.reads == "text") {
    EncodeOptions options;
    if (pair) options.pair = *pair;
    Encoding encoding = model->tokenizer().encode(text, options);
    return std::make_unique<TextSubject>(std::move(model), std::move(encoding), asked, text, pair);
  }
  fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\", which reads a {}, is not explained yet; models that read texts are", info.name,
       info.model_type, info.reads);
}

std::unique_ptr<Subject> ask_about(std::shared_ptr<const Model> model, const Encoding& ids, const Asked& asked,
                                   const std::optional<Encoding>& written) {
  if (!written) return std::make_unique<TextSubject>(std::move(model), ids, asked, std::nullopt, std::nullopt);
  return std::make_unique<PairSubject>(std::move(model),
                                       Pair{.source = ids, .target = *written, .of = asked.of_id, .against = asked.against_id});
}

}  // namespace clearhead::judge
