// Bindings of models: loading, inference, generation and tracing.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "arrays.h"
#include "base/format.h"
#include "clearhead/answers.h"
#include "clearhead/error.h"
#include "clearhead/generate.h"
#include "clearhead/model.h"
#include "generate/trace_of.h"
#include "inputs.h"
#include "loaded.h"
#include "models/input_kind.h"
#include "module.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

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

// [(type, text, probability)]
nb::list tuples_of(const std::string& text, const std::vector<TaggedSpan>& spans) {
  nb::list out;
  for (const TaggedSpan& one : spans)
    out.append(
        nb::make_tuple(one.type, text.substr(static_cast<size_t>(one.begin), static_cast<size_t>(one.end - one.begin)), one.probability));
  return out;
}

nb::list classes_of(const std::vector<ClassScore>& scores) {
  nb::list out;
  for (const ClassScore& one : scores) out.append(nb::make_tuple(one.label, one.probability));
  return out;
}

Trace traced(const Loaded& self, const nb::object& given, const std::optional<std::string>& pair,
             const std::optional<std::string>& question, bool truncate, int64_t window, uint64_t budget, const std::vector<int>& layers,
             const std::vector<std::array<int64_t, 2>>& rows) {
  const Model& model = *self.model;
  TraceRequest request;
  request.truncate = truncate;
  request.window = window;
  request.options.budget_bytes = budget;
  request.options.layers = layers;
  for (const auto& [begin, end] : rows) request.options.rows.push_back({begin, end});
  request.input = input_of(model.info(), given, pair, question);
  return without_gil([&] { return std::move(trace_of(model, request).trace); });
}

std::vector<std::string> transcribed(const Loaded& self, const nb::list& sounds, std::optional<int64_t> beams) {
  const ModelInfo& info = self.model->info();
  if (const InputKind& kind = input_kind(info); kind.is_text() || !kind.has_target)
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" reads a {} and cannot transcribe sounds", info.name, info.model_type,
         info.reads);
  std::vector<Sound> read;
  for (const nb::handle one : sounds) read.push_back(input_of(info, one, std::nullopt, std::nullopt).sound);
  GenerateOptions options;
  if (beams) options.beams.count = *beams;
  std::vector<std::string> out;
  for (const Generated& one : without_gil([&] { return transcribe(*self.model, read, options); })) out.push_back(one.text);
  return out;
}

// Marks the generated tokens in the trace of an encoder-decoder. Its target ends with these tokens, or with all except the last one if the
// decoder never read that one.
void name_generated(Trace& trace, std::vector<GeneratedToken> tokens) {
  const RunText& text = trace.plan().text;
  const auto ends_with = [&] {
    const auto end = text.ids.begin() + text.tokens();
    return std::cmp_less_equal(tokens.size(), text.tokens()) &&
           std::equal(tokens.rbegin(), tokens.rend(), std::make_reverse_iterator(end),
                      [](const GeneratedToken& token, int32_t id) { return token.id == id; });
  };
  if (!tokens.empty() && !ends_with()) tokens.pop_back();
  if (ends_with()) trace.set_generated(std::move(tokens));
}

nb::tuple generated(const Loaded& self, const std::string& prompt, int64_t max_tokens, std::optional<double> temperature, int64_t top_k,
                    double top_p, uint64_t seed, bool watch) {
  const bool reads_pairs = input_kind(self.model->info()).has_target;
  GenerateOptions options{.max_tokens = max_tokens};
  if (temperature) options.sampling = Sampling{.temperature = *temperature, .top_k = top_k, .top_p = top_p, .seed = seed};
  if (reads_pairs) options.beams = default_beams(*self.model);
  std::optional<Trace> trace;
  if (watch) {
    trace.emplace();
    options.run.observer = &*trace;
    options.run.text = prompt;
  }
  const Generated made = without_gil([&] {
    const Encoding encoding = self.model->tokenizer().encode(prompt);
    return reads_pairs ? generate_from(*self.model, {encoding}, options).front() : generate(*self.model, encoding, options);
  });
  if (trace && trace->generated_tokens().empty()) name_generated(*trace, made.tokens);
  return nb::make_tuple(made.text, trace ? nb::cast(std::move(*trace)) : nb::none());
}

std::vector<Encoding> encodings_of(const Model& model, const std::vector<std::string>& texts) {
  std::vector<Encoding> out;
  for (const std::string& text : texts) out.push_back(model.tokenizer().encode(text));
  return out;
}

std::vector<std::string> translated(const Loaded& self, const std::vector<std::string>& texts, std::optional<int64_t> beams,
                                    std::optional<int64_t> max_tokens) {
  const std::vector<Generated> made = without_gil([&] {
    GenerateOptions options{.max_tokens = max_tokens ? *max_tokens : default_max_tokens(*self.model, 512),
                            .beams = default_beams(*self.model)};
    if (beams) options.beams.count = *beams;
    return generate_from(*self.model, encodings_of(*self.model, texts), options);
  });
  std::vector<std::string> out;
  for (const Generated& one : made) out.push_back(one.text);
  return out;
}

nb::object floats(const std::vector<float>& values) { return array_of(Tensor::from(values, {static_cast<int64_t>(values.size())})); }

nb::object scored(const Loaded& self, const std::string& text, const std::optional<std::string>& target) {
  const Model& model = *self.model;
  return floats(without_gil([&] {
    const Encoding encoding = model.tokenizer().encode(text);
    return target ? log_probabilities_from(model, {encoding}, {model.tokenizer().encode(*target)}).front()
                  : log_probabilities(model, encoding.ids);
  }));
}

nb::dict ran(const Loaded& self, const nb::object& text_or_ids, bool all_hidden) {
  const RunOptions options{.all_hidden = all_hidden};
  const bool is_text = nb::isinstance<nb::str>(text_or_ids);
  const std::string text = is_text ? nb::cast<std::string>(text_or_ids) : "";
  std::vector<int32_t> ids;
  if (!is_text) {
    const Tensor given = indices_of(nb::module_::import_("numpy").attr("asarray")(text_or_ids), "ids").contiguous();
    if (given.dtype() != DType::kI32 || given.rank() != 1) fail(ErrorCode::kShape, "ids: expected a text, or ids, int [token]");
    ids.assign(given.data<int32_t>(), given.data<int32_t>() + given.numel());
  }
  const RunResult made =
      without_gil([&] { return is_text ? self.model->run(self.model->tokenizer().encode(text), options) : self.model->run(ids, options); });
  nb::dict out;
  const std::pair<const char*, const Tensor*> parts[] = {{"hidden", &made.hidden},
                                                         {"pooled", &made.pooled},
                                                         {"causal_logits", &made.causal_logits},
                                                         {"masked_logits", &made.masked_logits},
                                                         {"class_logits", &made.class_logits},
                                                         {"next_sentence_logits", &made.next_sentence_logits}};
  for (const auto& [name, tensor] : parts) {
    if (tensor->defined()) out[name] = array_of(*tensor);
  }
  if (!made.all_hidden.empty()) {
    nb::list layers;
    for (const Tensor& one : made.all_hidden) layers.append(array_of(one));
    out["all_hidden"] = layers;
  }
  return out;
}

// Properties of a model, and single forward passes.
void add_answers(nb::class_<Loaded>& model) {
  model
      .def("__repr__",
           [](const Loaded& self) { return format("clearhead.Model({}, {})", self.model->info().name, self.model->info().model_type); })
      .def_prop_ro(
          "name", [](const Loaded& self) { return self.model->info().name; }, "Name of the model: its folder or its name on the hub.")
      .def_prop_ro(
          "model_type", [](const Loaded& self) { return self.model->info().model_type; }, "Model family, as model_type in config.json.")
      .def_prop_ro(
          "layers", [](const Loaded& self) { return self.model->info().layers; }, "Number of layers.")
      .def_prop_ro(
          "heads", [](const Loaded& self) { return self.model->info().heads; }, "Number of query heads per layer.")
      .def_prop_ro(
          "width", [](const Loaded& self) { return self.model->info().width; }, "Size of the hidden states.")
      .def(
          "encode", [](const Loaded& self, const std::string& text) { return self.model->tokenizer().encode(text).ids; }, "text"_a,
          "Token ids of a text, with special tokens.")
      .def(
          "decode", [](const Loaded& self, const std::vector<int32_t>& ids) { return self.model->tokenizer().decode(ids, true); }, "ids"_a,
          "Text of token ids, without special tokens.")
      .def("run", &ran, "text_or_ids"_a, nb::kw_only(), "all_hidden"_a = false,
           "Runs the model on a text or on token ids (int [token]). Returns a dict of f32 arrays, with the outputs that the model has.\n\n"
           "\"hidden\" [1, token, width], \"pooled\" [1, width], \"causal_logits\" and \"masked_logits\" [1, token, vocabulary],\n"
           "\"class_logits\" [1, label], \"next_sentence_logits\". all_hidden=True adds \"all_hidden\", a list of the embeddings and\n"
           "the output of every layer. Raises TooLongError if there are more tokens than the model has positions.")
      .def(
          "hidden",
          [](const Loaded& self, const std::string& text) {
            return array_of(without_gil([&] { return self.model->run(self.model->tokenizer().encode(text), {.logits = false}); }).hidden);
          },
          "text"_a, "Hidden states of the last layer, f32 [1, token, width].")
      .def(
          "embed",
          [](const Loaded& self, const std::string& text) {
            return array_of(rows_of({without_gil([&] { return embed(*self.model, text); })}).select(0, 0));
          },
          "text"_a, "Sentence embedding, as sentence-transformers computes it, f32 [width].")
      .def(
          "embed",
          [](const Loaded& self, const std::vector<std::string>& texts) {
            return array_of(rows_of(without_gil([&] { return embed_all(*self.model, texts); })));
          },
          "texts"_a, "Sentence embeddings of a list of texts, f32 [text, width].")
      .def(
          "classify",
          [](const Loaded& self, const nb::object& text, const std::optional<std::string>& pair,
             const std::optional<std::string>& question) {
            const ModelInfo& info = self.model->info();
            const ModelInput input = input_of(info, text, pair, question);
            return classes_of(without_gil([&] {
              if (!input_kind(info).is_text()) return classify_inputs(*self.model, {input}).front();
              return classify(*self.model, input.text, input.pair ? std::optional<std::string_view>(*input.pair) : std::nullopt);
            }));
          },
          "text"_a, "pair"_a = nb::none(), nb::kw_only(), "question"_a = nb::none(),
          "Classifies a text, a pair of texts or another input. Returns [(label, probability)], most probable first.\n\n"
          "text: an input of the type that `reads` names. pair: the second text. question: for models that read a story or a scene.")
      .def_prop_ro(
          "reads", [](const Loaded& self) { return self.model->info().reads; },
          "Type of input that the model reads, which its methods take as the argument `text`.\n\n"
          "\"text\", \"pair\": a str.\n"
          "\"document\", \"story\", \"trajectory\": a str, or a list of sentences or observations.\n"
          "\"picture\", \"scene\": a path, u8 [height, width] or [height, width, 3], or f32 [channels, height, width] from 0 to 1.\n"
          "\"sound\", \"spectrogram\": a path, or (samples f32 [frame] or [channel, frame], sampling rate).\n"
          "\"series\": a list or an array of numbers, or a str of them: the samples, then the features; or the table of a forecast.\n"
          "\"crowd\": a str, the table of people: frame, person, x and y.\n"
          "\"graph\": a str, the name of a node.\n"
          "A story and a scene also need the argument `question`.");
}

void add_runs(nb::class_<Loaded>& model) {
  model
      .def(
          "fill",
          [](const Loaded& self, const std::string& text, int64_t count) {
            nb::list out;
            for (const std::vector<Candidate>& candidates : without_gil([&] { return fill_mask(*self.model, text, count); })) {
              nb::list of_mask;
              for (const Candidate& one : candidates) of_mask.append(nb::make_tuple(one.token, one.probability));
              out.append(of_mask);
            }
            return out;
          },
          "text"_a, "count"_a = 5,
          "Fills mask tokens. Returns for each mask token of the text a list of `count` pairs (token, probability), most probable first.")
      .def(
          "answer",
          [](const Loaded& self, const std::string& question, const std::string& text) -> std::optional<std::string> {
            const TextAnswer found = without_gil([&] { return answer(*self.model, question, text); });
            if (!found.found) return std::nullopt;
            return text.substr(static_cast<size_t>(found.begin), static_cast<size_t>(found.end - found.begin));
          },
          "question"_a, "text"_a, "Answers a question with a span of the text; None if the text has no answer.")
      .def("score", &scored, "text"_a, "target"_a = nb::none(),
           "Log-probability (natural) of every token except the first, f32 [token - 1]. For an encoder-decoder: of every token of\n"
           "`target`, including the end token. Raises UnsupportedError for a model that does not generate text.")
      .def(
          "translate",
          [](const Loaded& self, const std::string& text, std::optional<int64_t> beams, std::optional<int64_t> max_tokens) {
            return translated(self, {text}, beams, max_tokens).front();
          },
          "text"_a, nb::kw_only(), "beams"_a = nb::none(), "max_tokens"_a = nb::none(),
          "Translates a text with an encoder-decoder. beams: number of beams, 1 for greedy decoding; default: the model's own\n"
          "settings. max_tokens: largest number of tokens to generate. generate(text, watch=True) also returns the trace. Raises\n"
          "UnsupportedError for other models, TooLongError.")
      .def("translate", &translated, "texts"_a, nb::kw_only(), "beams"_a = nb::none(), "max_tokens"_a = nb::none(),
           "Translates a list of texts, in batches.")
      .def(
          "tag",
          [](const Loaded& self, const std::string& text) { return tuples_of(text, without_gil([&] { return tag(*self.model, text); })); },
          "text"_a,
          "Token classification: returns [(type, words, probability)], the entities of the text in order. Raises UnsupportedError.")
      .def(
          "label",
          [](const Loaded& self, const std::string& text) {
            return tuples_of(text, without_gil([&] { return label_tokens(*self.model, text); }));
          },
          "text"_a,
          "Token classification: returns [(label, text, probability)] of every token that is not special. Raises UnsupportedError.")
      .def(
          "summarise",
          [](const Loaded& self, const std::vector<std::string>& sentences) {
            return classes_of(without_gil([&] { return summarise(*self.model, {.texts = sentences}); }));
          },
          "sentences"_a, "Extractive summary: returns [(sentence, weight)] of a document, largest weight first. Raises UnsupportedError.")
      .def("_generate", &generated, "prompt"_a, "max_tokens"_a, "temperature"_a.none(), "top_k"_a, "top_p"_a, "seed"_a, "watch"_a)
      .def("transcribe", &transcribed, "sounds"_a, nb::kw_only(), "beams"_a = nb::none(),
           "Transcribes a list of sounds (see `reads`). beams: number of beams; default: greedy decoding. Returns a list of str.\n"
           "Raises UnsupportedError for models that do not read sounds.")
      .def("trace", &traced, "text"_a, "pair"_a = nb::none(), nb::kw_only(), "question"_a = nb::none(), "truncate"_a = false,
           "window"_a = 0, "budget"_a = uint64_t{2} << 30, "layers"_a = std::vector<int>{},
           "rows"_a = std::vector<std::array<int64_t, 2>>{},
           "Runs the model on an input and returns a Trace of its attention. A model that generates text,\n"
           "such as a translator, does so first; the trace covers both texts.\n\n"
           "text: an input of the type that `reads` names. pair: the second text. question: for models that read a story or a scene.\n"
           "truncate, window: for a text with more tokens than the model has positions: truncate it, or read it in windows of `window`\n"
           "tokens. Otherwise such a text raises TooLongError. budget: largest size of the trace, in bytes. layers: layers to keep;\n"
           "default: all. rows: ranges (begin, end) of tokens whose rows are kept if the budget does not suffice for all rows.\n"
           "Raises TooLongError or BudgetError before anything is computed.");
}

}  // namespace

void add_models(nb::module_& module) {
  module.def(
      "load",
      [](const std::string& name, const std::string& precision) {
        const LoadOptions options{.precision = precision_of(precision)};
        return Loaded{without_gil([&] { return load(name, options); }), std::make_shared<ForGradients>(name, options)};
      },
      "name"_a, nb::kw_only(), "precision"_a = "f32",
      "Loads a model from a folder, or by name from the local Hugging Face cache. Nothing is downloaded.\n\n"
      "precision: dtype in which linear layers and attention multiply, \"f32\" or \"bf16\". Raises NotFoundError, FormatError for broken\n"
      "files, and UnsupportedError for a model with features that this library does not have.");
  nb::class_<Loaded> model(module, "Model", "A model, as load() returns it. Immutable; safe to use from several threads.");
  add_answers(model);
  add_runs(model);
  add_explanations(model);
}

}  // namespace clearhead::python
