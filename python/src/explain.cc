// Why an answer, and how far each explanation can be trusted: Model.why() and Model.judge().
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "arrays.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "freely.h"
#include "inputs.h"
#include "judge/attribution.h"
#include "judge/inside.h"
#include "judge/items.h"
#include "judge/traced.h"
#include "judge/verdict.h"
#include "loaded.h"
#include "module.h"
#include "viewer/words.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

using namespace judge;  // NOLINT(google-build-using-namespace)
using Bytes = std::vector<std::array<int64_t, 2>>;

struct AskedText {
  std::string text{};
  std::optional<std::string> pair{};
  Asked asked{};
};

std::vector<MethodInfo> methods_of(const std::vector<std::string>& names) {
  std::vector<MethodInfo> out;
  for (const std::string& name : names) out.push_back(method_named(name));
  if (out.empty()) fail(ErrorCode::kInvalidArgument, "by: expected at least one method, such as \"relevance\"");
  return out;
}

SharedModel model_for(const Loaded& self, const std::vector<MethodInfo>& methods) {
  const bool gradients = std::any_of(methods.begin(), methods.end(), [](const MethodInfo& info) { return info.needs_gradients; });
  return gradients ? self.gradients->get() : self.model;
}

// A text with a second one, or what else the model reads.
struct Given {
  std::optional<ModelInput> input{};
  std::string text{};

  Given(const ModelInfo& info, const nb::object& given, const std::optional<std::string>& question) {
    if (reads_inputs(info)) {
      input = input_of(info, given, question);
    } else {
      text = text_of(info, given);
    }
  }
};

std::unique_ptr<Subject> subject_of(const SharedModel& model, const AskedText& question, const std::string& items) {
  std::unique_ptr<Subject> out = ask_about(model, question.text, question.asked, question.pair);
  if (items == "word") {
    out->set_items(items_of_words(*out, words_of(out->plan().text)));
  } else if (items == "sentence") {
    out->set_items(items_of_sentences(*out));
  } else if (items != "token") {
    fail(ErrorCode::kInvalidArgument, "items: \"{}\"; expected \"word\", \"token\" or \"sentence\"", items);
  }
  return out;
}

nb::dict why(const Loaded& self, const nb::object& text, const std::optional<std::string>& pair, const std::optional<std::string>& question,
             const std::string& of, const std::string& against, const std::vector<std::string>& by, const std::string& items, int64_t steps,
             std::optional<int> layer, std::optional<int64_t> head) {
  std::unique_ptr<Subject> subject;
  const std::vector<MethodInfo> methods = methods_of(by);
  const Given given(self.model->info(), text, question);
  const std::vector<std::vector<double>> shares = freely([&] {
    const Asked asked{.of = of, .against = against};
    subject = given.input ? ask_about(model_for(self, methods), *given.input, asked)
                          : subject_of(model_for(self, methods), {given.text, pair, asked}, items);
    check_used({.layer = layer, .head = head}, methods, *subject);
    std::vector<std::vector<double>> out;
    for (const MethodInfo& info : methods) out.push_back(attribute(*subject, info.method, {.layer = layer, .head = head, .steps = steps}));
    return out;
  });
  nb::list words, places;
  const std::string& read = subject->plan().text.text;
  for (const Range& item : subject->items()) {
    const auto [begin, end] = bytes_of_item(*subject, item);
    words.append(end > begin ? read.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin))
                             : subject->plan().text.pieces[static_cast<size_t>(item.begin)]);
    places.append(nb::make_tuple(begin, end));
  }
  nb::dict of_methods, out;
  for (size_t at = 0; at < methods.size(); ++at) {
    const std::vector<float> values(shares[at].begin(), shares[at].end());
    of_methods[methods[at].name] = array_of(Tensor::from(values, {static_cast<int64_t>(values.size())}));
  }
  out["answer"] = subject->answer();
  out["probability"] = subject->probability();
  out["items"] = words;
  out["bytes"] = places;
  out["shares"] = of_methods;
  return out;
}

RemovedBy removal_named(const std::string& name) {
  if (name == "unseen") return RemovedBy::kUnseen;
  if (name == "masked") return RemovedBy::kMasked;
  fail(ErrorCode::kInvalidArgument, "removal: \"{}\"; expected \"unseen\" or \"masked\"", name);
}

nb::dict judged(const Loaded& self, const std::vector<std::string>& texts, const std::vector<std::string>& by,
                const std::vector<std::string>& of, const std::vector<Bytes>& marks, const std::string& items, const std::string& removal,
                int64_t steps, uint64_t seed) {
  for (const auto& [what, count] : {std::pair{"of", of.size()}, std::pair{"marks", marks.size()}}) {
    if (count != 0 && count != texts.size())
      fail(ErrorCode::kInvalidArgument, "{}: {} entries for {} texts; expected one for each, or none", what, count, texts.size());
  }
  VerdictOptions settings{.methods = methods_of(by), .removal = removal_named(removal), .seed = seed};
  settings.attribution.steps = steps;
  Verdict verdict(settings);
  freely([&] {
    const SharedModel model = model_for(self, settings.methods);
    for (size_t at = 0; at < texts.size(); ++at) {
      const auto subject = subject_of(model, {texts[at], {}, {.of = of.empty() ? "" : of[at]}}, items);
      verdict.add(*subject, marks.empty() || marks[at].empty() ? std::vector<uint8_t>{} : items_in_bytes(*subject, marks[at]));
    }
  });
  const auto interval = [](const metrics::Interval& of_texts) { return nb::make_tuple(of_texts.mean, of_texts.low, of_texts.high); };
  nb::dict out;
  for (size_t method = 0; method < verdict.names().size(); ++method) {
    nb::dict one;
    for (const MeasureInfo& info : measures()) one[info.name] = interval(verdict.mean(method, info.measure));
    for (const Measure measure : {Measure::kComprehensiveness, Measure::kSufficiency})
      one[format("{}_against_random", measures()[static_cast<size_t>(measure)].name).c_str()] =
          interval(verdict.against_random(method, measure));
    out[verdict.names()[method].c_str()] = one;
  }
  return out;
}

Trace traced(const Loaded& self, const nb::object& text, const std::optional<std::string>& pair, const std::optional<std::string>& question,
             const std::string& of, const std::string& against, uint64_t budget, const std::vector<int>& layers, const Bytes& rows) {
  const Given given(self.model->info(), text, question);
  TraceOptions options{.budget_bytes = budget, .layers = layers};
  for (const auto& [begin, end] : rows) options.rows.push_back({begin, end});
  return freely([&] {
    const Asked asked{.of = of, .against = against};
    return trace_with_gradients(
        given.input ? *ask_about(self.gradients->get(), *given.input, asked) : *ask_about(self.gradients->get(), given.text, asked, pair),
        std::move(options));
  });
}

nb::dict split(const Loaded& self, const std::string& text, int layer, int64_t head, int64_t query, int64_t key,
               const std::optional<std::string>& pair, const std::string& family) {
  const ScoreSplit found = freely([&] {
    const ScoreAt at{family, layer, head, query, key};
    if (self.model->info().encoder_layers > 0) {
      const ReadAndWritten read = read_and_write(*self.model, text, pair);
      return self.model->split_score(read.source, at, read.target.encoding);
    }
    EncodeOptions both;
    if (pair) both.pair = *pair;
    return self.model->split_score(self.model->tokenizer().encode(text, both), at);
  });
  nb::list parts;
  for (const ScorePart& part : found.parts) parts.append(nb::make_tuple(part_name(part), part.query, part.key));
  nb::dict out;
  out["score"] = found.score;
  out["parts"] = parts;
  return out;
}

}  // namespace

void add_explanations(nb::class_<Loaded>& model) {
  model
      .def(
          "why", &why, "text"_a, "pair"_a = nb::none(), nb::kw_only(), "question"_a = nb::none(), "of"_a = "", "against"_a = "",
          "by"_a = std::vector<std::string>{"relevance"}, "items"_a = "word", "steps"_a = 32, "layer"_a = nb::none(), "head"_a = nb::none(),
          "Which parts of a text an answer came from: a dict with \"answer\", its \"probability\", \"items\" (their text), \"bytes\" of "
          "each\n"
          "in the UTF-8 text, and \"shares\", f32 [item] by method, of no fixed total; signed methods say what speaks against it.\n\n"
          "of: a class, a word or several, or \"token N\"; empty: what the model answers. Several tokens are explained as a whole: by the\n"
          "sum of their log-probabilities. against: explain why that and not this, a class or a word of one token. by: attention,\n"
          "rollout, flow, value-weighted, output-weighted, mixed, attention-gradient, relevance, gradient-input, integrated-gradients,\n"
          "occlusion. items: \"word\", \"token\" or \"sentence\"; of what is no text (reads) its statements, patches or frames. steps: of "
          "integrated gradients. layer, head: of methods of one layer; refused where no method uses it.\n"
          "Methods with gradients read the weights a second time when first used. Raises NotFoundError for a class or word that is not\n"
          "there, UnsupportedError for what the model cannot have.")
      .def(
          "trace_gradients", &traced, "text"_a, "pair"_a = nb::none(), nb::kw_only(), "question"_a = nb::none(), "of"_a = "",
          "against"_a = "", "budget"_a = uint64_t{2} << 30, "layers"_a = std::vector<int>{}, "rows"_a = Bytes{},
          "trace() of a run with gradients: it also keeps how an answer changes with every weight, for LayerMap.gradients(). of, against:\n"
          "which answer, as why() has it; the rest is as of trace().")
      .def("split_score", &split, "text"_a, "layer"_a, "head"_a, "query"_a, "key"_a, "pair"_a = nb::none(), "family"_a = "",
           "One score of a head, taken apart: a dict with \"score\" (scale * q.k, before the terms of the description) and \"parts\",\n"
           "[(what, of the query, of the key)]: what embeddings, every head and MLP below, and biases wrote into either. Norms keep the\n"
           "scale of the run, so either column adds up to the score. query, key: numbers of tokens.\n\n"
           "Of encoder-decoders family is \"enc\", \"dec\" or \"cross\" (its query stands in what is written, its key in the source), and\n"
           "pair what is written, by default what the model writes. Raises InvalidArgumentError for a pair that is not visible,\n"
           "UnsupportedError for networks of parts.")
      .def("judge", &judged, "texts"_a, nb::kw_only(), "by"_a = std::vector<std::string>{"attention", "relevance", "occlusion"},
           "of"_a = std::vector<std::string>{}, "marks"_a = std::vector<Bytes>{}, "items"_a = "word", "removal"_a = "unseen",
           "steps"_a = 16, "seed"_a = 1,
           "How far each method says what the answers needed: a dict by method, with \"random\" and the reverse of the first one beside, "
           "of\n"
           "dicts by measure of (mean, low, high): 95 % intervals by bootstrap over texts, NaN where a measure is not defined.\n\n"
           "of: what is asked of each text, as why() has it. marks: of each text, (begin, end) of bytes that people marked. removal:\n"
           "\"unseen\" (no token attends to it) or \"masked\". Texts of fewer than 3 items say nothing.");
}

}  // namespace clearhead::python
