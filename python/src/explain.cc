// Bindings of attribution and its evaluation: Model.why(), trace_gradients(), split_score() and judge().
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>

#include "arrays.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/residual_stream.h"
#include "explain/attribution.h"
#include "explain/evaluate/verdict.h"
#include "explain/inside.h"
#include "explain/items.h"
#include "explain/traced.h"
#include "inputs.h"
#include "loaded.h"
#include "models/input_kind.h"
#include "module.h"
#include "viewer/words.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

using namespace explain;  // NOLINT(google-build-using-namespace)
using Bytes = std::vector<std::array<int64_t, 2>>;

std::vector<Method> methods_of(const std::vector<std::string>& names) {
  std::vector<Method> out;
  for (const std::string& name : names) out.push_back(method_named(name));
  if (out.empty()) fail(ErrorCode::kInvalidArgument, "methods: expected at least one method, such as \"relevance\"");
  return out;
}

SharedModel model_for(const Loaded& self, const std::vector<Method>& methods) {
  const bool gradients = std::any_of(methods.begin(), methods.end(), [](const Method& info) { return info.needs_gradients; });
  return gradients ? self.gradients->get() : self.model;
}

// units: the grouping of tokens into items. Inputs other than texts do not use it: their items are those of the map.
std::unique_ptr<AttributionTarget> target_of(const SharedModel& model, const ModelInput& input, const TargetSpec& asked,
                                             const std::string& units) {
  std::unique_ptr<AttributionTarget> out = make_target(model, input, asked);
  if (!input_kind(model->info()).is_text()) return out;
  if (units == "word") {
    out->set_items(items_of_words(*out, viewer::words_of(out->plan().text)));
  } else if (units == "sentence") {
    out->set_items(items_of_sentences(*out));
  } else if (units != "token") {
    fail(ErrorCode::kInvalidArgument, "units: \"{}\"; expected \"word\", \"token\" or \"sentence\"", units);
  }
  return out;
}

nb::dict why(const Loaded& self, const nb::object& text, const std::optional<std::string>& pair, const std::optional<std::string>& question,
             const std::string& target, const std::string& contrast, const std::vector<std::string>& names, const std::string& units,
             int64_t steps, std::optional<int> layer, std::optional<int64_t> head) {
  std::unique_ptr<AttributionTarget> explained;
  const std::vector<Method> methods = methods_of(names);
  const ModelInput input = input_of(self.model->info(), text, pair, question);
  const std::vector<std::vector<double>> shares = without_gil([&] {
    const TargetSpec asked{.target = target, .contrast = contrast};
    explained = target_of(model_for(self, methods), input, asked, units);
    check_used({.layer = layer, .head = head}, methods, *explained);
    std::vector<std::vector<double>> out;
    for (const Method& info : methods) out.push_back(attribute(*explained, info, {.layer = layer, .head = head, .steps = steps}));
    return out;
  });
  nb::list words, places;
  const std::string& read = explained->plan().text.text;
  for (const Range& item : explained->items()) {
    const auto [begin, end] = bytes_of_item(*explained, item);
    words.append(end > begin ? read.substr(static_cast<size_t>(begin), static_cast<size_t>(end - begin))
                             : explained->plan().text.pieces[static_cast<size_t>(item.begin)]);
    places.append(nb::make_tuple(begin, end));
  }
  nb::dict of_methods, out;
  for (size_t at = 0; at < methods.size(); ++at) {
    const std::vector<float> values(shares[at].begin(), shares[at].end());
    of_methods[methods[at].name] = array_of(Tensor::from(values, {static_cast<int64_t>(values.size())}));
  }
  out["answer"] = explained->answer();
  out[explained->is_number() ? "number" : "probability"] = explained->probability();
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

nb::dict judged(const Loaded& self, const std::vector<std::string>& texts, const std::vector<std::string>& names,
                const std::vector<std::string>& targets, const std::vector<Bytes>& marks, const std::string& units,
                const std::string& removal, int64_t steps, uint64_t seed) {
  for (const auto& [what, count] : {std::pair{"targets", targets.size()}, std::pair{"marks", marks.size()}}) {
    if (count != 0 && count != texts.size())
      fail(ErrorCode::kInvalidArgument, "{}: {} entries for {} texts; expected one for each, or none", what, count, texts.size());
  }
  VerdictOptions settings{.methods = methods_of(names), .removal = removal_named(removal), .seed = seed};
  settings.attribution.steps = steps;
  Verdict verdict(settings);
  without_gil([&] {
    const SharedModel model = model_for(self, settings.methods);
    for (size_t at = 0; at < texts.size(); ++at) {
      const auto target = target_of(model, {.text = texts[at]}, {.target = targets.empty() ? "" : targets[at]}, units);
      verdict.add(*target, marks.empty() || marks[at].empty() ? std::vector<uint8_t>{} : items_in_bytes(*target, marks[at]));
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
             const std::string& target, const std::string& contrast, uint64_t budget, const std::vector<int>& layers, const Bytes& rows) {
  const ModelInput input = input_of(self.model->info(), text, pair, question);
  TraceOptions options{.budget_bytes = budget, .layers = layers};
  for (const auto& [begin, end] : rows) options.rows.push_back({begin, end});
  return without_gil([&] {
    const TargetSpec asked{.target = target, .contrast = contrast};
    return trace_with_gradients(*make_target(self.gradients->get(), input, asked), std::move(options));
  });
}

nb::dict split(const Loaded& self, const std::string& text, int layer, int64_t head, int64_t query, int64_t key,
               const std::optional<std::string>& pair, const std::string& family) {
  const ScoreSplit found = without_gil([&] {
    const ScoreAt at{family, layer, head, query, key};
    if (input_kind(self.model->info()).has_target) {
      const ReadAndWritten read = read_and_write(*self.model, text, pair);
      return split_score(*self.model, read.source, at, read.target.encoding);
    }
    EncodeOptions both;
    if (pair) both.pair = *pair;
    return split_score(*self.model, self.model->tokenizer().encode(text, both), at);
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
          "why", &why, "text"_a, "pair"_a = nb::none(), nb::kw_only(), "question"_a = nb::none(), "target"_a = "", "contrast"_a = "",
          "methods"_a = std::vector<std::string>{"relevance"}, "units"_a = "word", "steps"_a = 32, "layer"_a = nb::none(),
          "head"_a = nb::none(),
          "Attributes an answer of the model to parts of the input.\n\n"
          "Returns a dict: \"answer\" and its \"probability\", or the \"number\" that a regression or a forecast answers with; \"items\",\n"
          "the text of each item; \"bytes\", its byte range in the UTF-8 text; \"shares\", the attribution of each item by method,\n"
          "f32 [item]. Shares have no fixed total. Signed methods give negative shares to items that lower the answer's probability,\n"
          "or the number.\n\n"
          "text: an input of the type that `reads` names. pair: the second text. question: for models that read a story or a scene.\n"
          "target: the answer to explain: a class, one or more words, or \"token N\"; default: the model's own answer. Several tokens are\n"
          "explained together, by the sum of their log-probabilities.\n"
          "contrast: a class or a word of one token; explains why the answer is `target` and not `contrast`.\n"
          "methods: names of explanation_methods().\n"
          "units: \"word\", \"token\" or \"sentence\"; inputs other than texts have statements, patches or frames as items.\n"
          "steps: number of steps of integrated gradients. layer, head: for methods that use one layer; an error if no method does.\n\n"
          "The first use of a method with gradients loads the weights a second time. Raises NotFoundError for a class or word that\n"
          "does not exist, UnsupportedError for a method or answer that the model does not support.")
      .def("trace_gradients", &traced, "text"_a, "pair"_a = nb::none(), nb::kw_only(), "question"_a = nb::none(), "target"_a = "",
           "contrast"_a = "", "budget"_a = uint64_t{2} << 30, "layers"_a = std::vector<int>{}, "rows"_a = Bytes{},
           "Like trace(), and also keeps the gradient of an answer with respect to every weight, for LayerMap.gradients().\n\n"
           "target, contrast: the answer, as in why(). Other parameters as in trace().")
      .def("split_score", &split, "text"_a, "layer"_a, "head"_a, "query"_a, "key"_a, "pair"_a = nb::none(), "family"_a = "",
           "Decomposes one attention score into contributions of the components below it.\n\n"
           "Returns a dict: \"score\", which is scale * q.k before the terms of the description, and \"parts\", a list of (component,\n"
           "contribution through the query, contribution through the key). Components are the embeddings, every head and MLP below,\n"
           "and biases. Normalisation layers keep the scale that they had in the run, so each column adds up to the score.\n\n"
           "query, key: token indices. pair: the second text. For encoder-decoders, family is \"enc\", \"dec\" or \"cross\" (the query\n"
           "is in the target, the key in the source) and pair is the target text, by default what the model generates. Raises\n"
           "InvalidArgumentError for a pair that is not visible, UnsupportedError for networks from the literature.")
      .def("judge", &judged, "texts"_a, nb::kw_only(), "methods"_a = std::vector<std::string>{"attention", "relevance", "occlusion"},
           "targets"_a = std::vector<std::string>{}, "marks"_a = std::vector<Bytes>{}, "units"_a = "word", "removal"_a = "unseen",
           "steps"_a = 16, "seed"_a = 1,
           "Evaluates attribution methods: how faithfully each identifies the items that the answers depend on.\n\n"
           "Returns a dict of dicts: [method][measure] is (mean, low, high), where low and high bound the 95 % bootstrap interval\n"
           "over texts; NaN where a measure is not defined. As baselines, the dict also has \"random\" and the reverse of the first\n"
           "method.\n\n"
           "methods, units, steps: as in why(). targets: the answer to explain for each text, as in why(); default: the model's own "
           "answers.\n"
           "marks: for each text, byte ranges (begin, end) that annotators marked as its rationale. removal: how an item is removed:\n"
           "\"unseen\" (no token attends to it) or \"masked\". seed: of random rankings and random sets of items. Texts with fewer\n"
           "than 3 items are ignored.");
}

}  // namespace clearhead::python
