// Models of this library: load, ask, and watch.
#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arrays.h"
#include "base/format.h"
#include "clearhead/error.h"
#include "clearhead/generate.h"
#include "clearhead/model.h"
#include "freely.h"
#include "models/trace_text.h"
#include "module.h"
#include "viewer/export.h"
#include "viewer/loaded_trace.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

using SharedModel = std::shared_ptr<const Model>;
struct Loaded {
  SharedModel model;
};

DType precision_of(const std::string& name) {
  if (name == "f32") return DType::kF32;
  if (name == "bf16") return DType::kBF16;
  fail(ErrorCode::kInvalidArgument, "precision: \"{}\"; expected \"f32\" or \"bf16\"", name);
}

Tensor rows_of(const std::vector<Embedding>& embeddings) {
  const auto width = static_cast<int64_t>(embeddings.empty() ? 0 : embeddings.front().values.size());
  Tensor out = Tensor::empty({static_cast<int64_t>(embeddings.size()), width});
  float* to = out.mutable_data<float>();
  for (const Embedding& one : embeddings) to = std::copy(one.values.begin(), one.values.end(), to);
  return out;
}

nb::list classes_of(const std::vector<ClassScore>& scores) {
  nb::list out;
  for (const ClassScore& one : scores) out.append(nb::make_tuple(one.label, one.probability));
  return out;
}

Trace traced(const Model& model, const std::string& text, const std::optional<std::string>& pair, bool truncate, int64_t window,
             uint64_t budget) {
  TextRequest request;
  request.text = text;
  request.pair = pair;
  request.truncate = truncate;
  request.window = window;
  request.options.budget_bytes = budget;
  return std::move(trace_text(model, request).trace);
}

nb::tuple generated(const Loaded& self, const std::string& prompt, int64_t max_tokens, std::optional<double> temperature, int64_t top_k,
                    double top_p, uint64_t seed, bool watch) {
  const bool reads_pairs = self.model->info().reads == "pair";
  GenerateOptions options{.max_tokens = max_tokens};
  if (temperature) options.sampling = Sampling{.temperature = *temperature, .top_k = top_k, .top_p = top_p, .seed = seed};
  if (reads_pairs) options.beams = default_beams(*self.model);
  std::optional<Trace> trace;
  if (watch) {
    trace.emplace();
    options.run.observer = &*trace;
    options.run.text = prompt;
  }
  const Generated made = freely([&] {
    const Encoding encoding = self.model->tokenizer().encode(prompt);
    return reads_pairs ? generate_from(*self.model, {encoding}, options).front() : generate(*self.model, encoding, options);
  });
  return nb::make_tuple(made.text, trace ? nb::cast(std::move(*trace)) : nb::none());
}

// What it is, and what it says of a text.
void add_answers(nb::class_<Loaded>& model) {
  model
      .def("__repr__",
           [](const Loaded& self) { return format("clearhead.Model({}, {})", self.model->info().name, self.model->info().model_type); })
      .def_prop_ro("name", [](const Loaded& self) { return self.model->info().name; })
      .def_prop_ro("model_type", [](const Loaded& self) { return self.model->info().model_type; })
      .def_prop_ro("layers", [](const Loaded& self) { return self.model->info().layers; })
      .def_prop_ro("heads", [](const Loaded& self) { return self.model->info().heads; })
      .def_prop_ro("width", [](const Loaded& self) { return self.model->info().width; })
      .def(
          "encode", [](const Loaded& self, const std::string& text) { return self.model->tokenizer().encode(text).ids; }, "text"_a)
      .def(
          "hidden",
          [](const Loaded& self, const std::string& text) {
            return array_of(freely([&] { return self.model->run(self.model->tokenizer().encode(text), {.logits = false}); }).hidden);
          },
          "text"_a, "The last hidden state, f32 [1, token, width].")
      .def(
          "embed",
          [](const Loaded& self, const std::string& text) {
            return array_of(rows_of({freely([&] { return self.model->embed(text); })}).select(0, 0));
          },
          "text"_a, "The sentence's vector as sentence-transformers computes it, f32 [width].")
      .def(
          "embed",
          [](const Loaded& self, const std::vector<std::string>& texts) {
            return array_of(rows_of(freely([&] { return self.model->embed_all(texts); })));
          },
          "texts"_a, "f32 [text, width]")
      .def(
          "classify",
          [](const Loaded& self, const std::string& text, const std::optional<std::string>& pair) {
            return classes_of(
                freely([&] { return self.model->classify(text, pair ? std::optional<std::string_view>(*pair) : std::nullopt); }));
          },
          "text"_a, "pair"_a = nb::none(), "[(label, probability)], best first.");
}

void add_runs(nb::class_<Loaded>& model) {
  model
      .def(
          "fill",
          [](const Loaded& self, const std::string& text, int64_t count) {
            nb::list out;
            for (const std::vector<Candidate>& candidates : freely([&] { return self.model->fill_mask(text, count); })) {
              nb::list of_mask;
              for (const Candidate& one : candidates) of_mask.append(nb::make_tuple(one.token, one.probability));
              out.append(of_mask);
            }
            return out;
          },
          "text"_a, "count"_a = 5, "For every mask token of the text, [(token, probability)], best first.")
      .def(
          "answer",
          [](const Loaded& self, const std::string& question, const std::string& text) -> std::optional<std::string> {
            const TextAnswer found = freely([&] { return self.model->answer(question, text); });
            if (!found.found) return std::nullopt;
            return text.substr(static_cast<size_t>(found.begin), static_cast<size_t>(found.end - found.begin));
          },
          "question"_a, "text"_a, "The answer as a part of the text; None if the text has none.")
      .def(
          "score",
          [](const Loaded& self, const std::string& text) {
            const std::vector<float> found =
                freely([&] { return log_probabilities(*self.model, self.model->tokenizer().encode(text).ids); });
            return array_of(Tensor::from(found, {static_cast<int64_t>(found.size())}));
          },
          "text"_a, "ln p of every token but the first, f32 [token - 1].")
      .def("_generate", &generated)
      .def(
          "trace",
          [](const Loaded& self, const std::string& text, const std::optional<std::string>& pair, bool truncate, int64_t window,
             uint64_t budget) { return freely([&] { return traced(*self.model, text, pair, truncate, window, budget); }); },
          "text"_a, "pair"_a = nb::none(), nb::kw_only(), "truncate"_a = false, "window"_a = 0, "budget"_a = uint64_t{2} << 30,
          "Reads the text and keeps its attention. A text longer than the model's positions is refused, cut (truncate) or read in "
          "windows.");
}

}  // namespace

void add_models(nb::module_& module) {
  module.def(
      "load",
      [](const std::string& name, const std::string& precision) {
        return Loaded{freely([&] { return load(name, {.precision = precision_of(precision)}); })};
      },
      "name"_a, nb::kw_only(), "precision"_a = "f32",
      "A model from a folder, or by its name in the local Hugging Face cache. Nothing is downloaded.");
  nb::class_<Loaded> model(module, "Model", "A model of this library, which load() returns. Immutable; safe to use from several threads.");
  add_answers(model);
  add_runs(model);
  module.def(
      "_page",
      [](const Trace& trace, const std::string& path, uint64_t budget, const std::string& state) {
        freely([&] {
          // The page looks at the trace only while it is written.
          const std::shared_ptr<const Trace> borrowed(std::shared_ptr<const Trace>(), &trace);
          std::vector<LoadedTrace> loaded;
          loaded.emplace_back(borrowed, LoadedTrace::Options{});
          export_html(loaded, path, {.command = "trace.view()", .state = state, .budget_bytes = budget});
        });
      },
      "trace"_a, "path"_a, "budget"_a, "state"_a);
}

}  // namespace clearhead::python
