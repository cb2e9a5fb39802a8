// Describes the families with their facts, the features that this trace lacks with the command that would keep them, and the traces
// opened with it.
#include "viewer/questions/info.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/format.h"
#include "explain/answer_kind.h"
#include "explain/attribution.h"
#include "models/input_kind.h"
#include "viewer/questions/head.h"
#include "viewer/questions/ranges.h"
#include "viewer/questions/target.h"
#include "viewer/words.h"

namespace clearhead::viewer::questions {
namespace {

Json bilingual_json(const Bilingual& of) { return Json::object({{"en", of.en}, {"zh", of.zh}}); }

const char* kind_of(const MapFamily& family) {
  if (family.name == "enc") return "encoder";
  if (family.name == "cross") return "cross";
  return family.name == "dec" ? "decoder" : "other";
}

Json family_json(const FamilyFacts& known) {
  const MapFamily& family = known.shape;
  Json weights(Json::Array{"raw"}), sinks = Json::array();
  if (known.value) weights.push("value");
  if (known.output) weights.push("output");
  for (const WeightKind kind : kWeightKinds) {
    if (is_gradient(kind) && known.gradients && (length_of(kind) == LengthOf::kNothing || known.value)) weights.push(to_string(kind));
  }
  for (const int64_t key : known.sinks) sinks.push(key);
  Json bands = Json::array(), summaries = Json::array(), remainders = Json::array();
  for (const std::string& remainder : known.remainders) remainders.push(remainder.empty() ? Json() : Json(remainder));
  for (const Bilingual& one : known.summaries) summaries.push(one.en.empty() ? Json() : bilingual_json(one));
  for (const auto& band : known.bands) bands.push(band ? Json(Json::Array{band->first, band->second}) : Json());
  return Json::object({{"id", family.name},
                       {"kind", kind_of(family)},
                       {"layers", family.layers},
                       {"heads", family.heads},
                       {"key_heads", family.key_heads},
                       {"d_k", family.d_k},
                       {"queries", known.queries},
                       {"keys", known.keys},
                       {"query_range", range_json(known.query_range())},
                       {"key_range", range_json(known.key_range())},
                       {"query_side", 0},
                       {"key_side", 0},
                       {"causal", family.causal},
                       {"segment_length", family.segment_length},
                       {"sums_to_one", known.sums_to_one},
                       {"remainders", std::move(remainders)},
                       {"sinks", sinks},
                       {"weights", weights},
                       {"rows", ranges_json(known.rows)},
                       {"all_rows", known.all_rows},
                       {"writes_from", known.written.from ? Json(*known.written.from) : Json()},
                       {"windows", known.windows.empty() ? Json() : ranges_json(known.windows)},
                       {"bands", std::move(bands)},
                       {"summaries", std::move(summaries)}});
}

// Adds the features that this trace lacks for one family, and notes for readers of its numbers.
void add_limits(const Trace& trace, const FamilyFacts& known, Json& missing, Json& notes) {
  const auto lacks = [&](const char* feature, const char* code, Json command, std::string detail) {
    missing.push(missing_json(feature, code, std::move(command), std::move(detail)));
  };
  if (known.layers.empty()) return;
  if (known.sink_rows > 0) {
    notes.push(format("Attention sinks were found from {} of {} rows.", with_commas(known.sink_rows), with_commas(known.queries)));
  }
  if (known.layers.size() < static_cast<size_t>(known.shape.layers)) {
    notes.push(format("Of {} layers, these were kept: {}. To keep others, trace again with --layers.", known.shape.layers,
                      layers_text(known.layers)));
  }
  if (!known.all_rows) {
    int64_t rows = 0;
    for (const Range& range : known.rows) rows += range.size();
    const std::string detail = format("The query vectors of {} of {} tokens were kept.", with_commas(rows), with_commas(known.queries));
    const std::string command = keep_command(trace, "--budget 64G");
    for (const char* feature : {"column", "tile", "overview"}) lacks(feature, "q-not-kept", command, detail);
    if (!trace.has_statistics(known.shape.name, known.layers[0])) lacks("atlas", "q-not-kept", command, detail);
  }
  if (!known.value) lacks("value", "v-not-kept", nullptr, "The norms of the values were not kept in this trace.");
  if (!known.output) lacks("output", "v-not-kept", nullptr, "The norms of the values were not kept in this trace.");
}

// Instruction set and dtype that the weights were computed with, taken from the last family that kept a layer.
struct Versions {
  std::string isa = "ref", dtype = "f32";

  void take(const Trace& trace, const FamilyFacts& known) {
    if (known.layers.empty()) return;
    const LayerMap first = trace.map(known.shape.name, known.layers[0]);
    if (first.frames().empty()) return;
    const Stamp& stamp = first.frames()[0].record.stamp;
    isa = to_string(stamp.isa);
    dtype = to_string(stamp.dtype);
  }
};

bool has_pair(const RunText& text) {
  return std::any_of(text.segments.begin(), text.segments.end(),
                     [](const TextSegment& segment) { return segment.name == "second" && segment.role == "text"; });
}

// The two texts that the model read, or the source and the target, to be edited; null for one text, and for long ones.
Json given_json(const LoadedTrace& loaded) {
  constexpr size_t kMostBytes = 40'000;
  if (loaded.options().input || loaded.trace().plan().text.text.size() > kMostBytes) return nullptr;
  const ModelInput given = loaded.given();
  return given.pair ? Json(Json::Array{given.text, *given.pair}) : Json();
}

// The names of special tokens and of tokens without text, by id.
Json special_json(const RunText& text) {
  Json out = Json::object();
  for (size_t i = 0; i < text.ids.size(); ++i) {
    if (text.special[i] || is_without_text(text, i)) out[std::to_string(text.ids[i])] = text.pieces[i];
  }
  return out;
}

Json side_json(const RunText& text) {
  return Json::object({{"kind", "text"},
                       {"tokens", static_cast<int64_t>(text.ids.size())},
                       {"bytes", static_cast<int64_t>(text.text.size())},
                       {"lang", nullptr}});
}

Json checkpoints_json(const LoadedTrace::Options& options) {
  Json out = Json::array();
  for (const LoadedTrace::Options::Member& one : options.together) {
    if (options.is_run) out.push(Json::object({{"step", one.number}, {"id", one.id}}));
  }
  return out;
}

Json traces_json(const LoadedTrace::Options& options) {
  Json out = Json::array();
  for (size_t at = 0; at < options.together.size() && !options.is_run; ++at) {
    const LoadedTrace::Options::Member& one = options.together[at];
    Json card;
    if (const GalleryCard& of = one.card; of.given()) {
      card = Json::object(
          {{"title", bilingual_json(of.title)}, {"look_for", bilingual_json(of.look_for)}, {"answer", of.answer}, {"change", nullptr}});
      if (of.change) {
        const LoadedTrace::Options::Member& changed = options.together.at(at + 1);
        card["change"] =
            Json::object({{"from", of.change->from}, {"to", of.change->to}, {"number", changed.number}, {"answer", changed.card.answer}});
      }
    }
    out.push(Json::object({{"number", one.number},
                           {"id", one.id},
                           {"model", one.model},
                           {"begins", one.begins},
                           {"state", one.state},
                           {"card", std::move(card)}}));
  }
  return out;
}

// The kind of the model's answer, and its possible classes.
Json answers_json(const LoadedTrace::Options& options) {
  if (!options.model) return Json();
  const ModelInfo& info = options.model->info();
  const explain::AnswerKind* kind = explain::answer_kind(info);
  if (!kind) return Json();
  Json labels = Json::array();
  for (const std::string& label : kind->choices ? kind->choices(*options.model) : info.labels) labels.push(label);
  return Json::object({{"kind", std::string(kind->name)}, {"labels", std::move(labels)}});
}

// The attribution methods, for the page's list.
Json methods_json() {
  Json out = Json::array();
  for (const explain::Method& method : explain::attribution_methods())
    out.push(Json::object({{"name", method.name}, {"what", method.what}}));
  return out;
}

}  // namespace

Json answered_json(const LoadedTrace::Options& options) {
  Json out = Json::array();
  for (const explain::ShownAnswer& one : options.answers) {
    out.push(Json::object({{"name", one.name}, {"probability", one.probability}, {"token", one.token ? Json(*one.token) : Json()}}));
  }
  return out;
}

Json missing_json(const char* feature, const char* code, Json command, std::string detail) {
  return Json::object({{"feature", feature}, {"code", code}, {"command", std::move(command)}, {"detail", std::move(detail)}});
}

Json info(LoadedTrace& loaded) {
  const RunPlan& plan = loaded.trace().plan();
  const LoadedTrace::Options& options = loaded.options();
  Json families = Json::array(), missing = Json::array(), notes = Json::array(), chances = Json::array();
  Versions versions;
  for (const MapFamily& family : plan.families) {
    const FamilyFacts& known = loaded.facts(family.name);
    families.push(family_json(known));
    add_limits(loaded.trace(), known, missing, notes);
    versions.take(loaded.trace(), known);
  }
  const std::string& gradients_of = loaded.trace().gradients_of();
  if (!gradients_of.empty())
    notes.push(format("y is {}: \"for\" and \"against\" show each weight times the gradient of y with respect to it.", gradients_of));
  notes.push(format("Weights are exact for the stored Q and K ({}, {}).", versions.dtype, versions.isa));
  if (!options.model) {
    Json command;  // a checkpoint of a training run exists only in its trace
    if (!options.is_run) command = format("clearhead view {} \"your text\"", plan.model.empty() ? "MODEL" : plan.model);
    for (const char* feature : {"run", "why", "what-if"})
      missing.push(missing_json(feature, "no-model", command, "A trace contains no model."));
  } else if (!input_kind(options.model->info()).is_text()) {
    missing.push(missing_json("run", "other-input", format("clearhead view {} INPUT", options.model->info().name),
                              format("This model reads a {}.", options.model->info().reads)));
    if (!options.input) {
      for (const char* feature : {"why", "what-if"})
        missing.push(missing_json(feature, "other-input", Json(),
                                  format("The viewer does not have the {} that the model read.", options.model->info().reads)));
    }
  }
  // The page uses `chances` to step through the generated tokens and shows the row of each in any family. They are therefore left out
  // if a family covers only a part of the text, or if a probability is unknown.
  const bool has_parts = std::any_of(plan.families.begin(), plan.families.end(), [](const MapFamily& family) { return family.is_part; });
  const std::vector<GeneratedToken>& generated = loaded.trace().generated_tokens();
  const bool all_known = std::none_of(generated.begin(), generated.end(), [](const auto& token) { return std::isnan(token.probability); });
  if (!has_parts && all_known) {
    for (const GeneratedToken& token : generated) chances.push(token.probability);
  }
  const int64_t longest = options.model ? options.model->info().longest : 0;
  return Json::object({{"protocol", kViewerProtocol},
                       {"clearhead", options.version},
                       {"source", options.model ? "live" : "trace"},
                       {"id", loaded.id()},
                       {"name", model_name(plan)},
                       {"command", options.command},
                       {"sides", Json(Json::Array{side_json(plan.text)})},
                       {"families", families},
                       {"special", special_json(plan.text)},
                       {"notes", notes},
                       {"missing", missing},
                       {"can_run", options.model && input_kind(options.model->info()).is_text()},
                       {"answers", answers_json(options)},
                       {"answered", answered_json(options)},
                       {"methods", methods_json()},
                       {"pair", has_pair(plan.text)},
                       {"given", given_json(loaded)},
                       {"max_tokens", longest > 0 ? Json(longest) : Json()},
                       {"generated", chances},
                       {"checkpoints", checkpoints_json(options)},
                       {"traces", traces_json(options)},
                       {"gradients_of", gradients_of.empty() ? Json() : Json(gradients_of)},
                       {"step", options.together.empty() ? Json() : Json(options.together[options.at].number)},
                       {"versions", Json::object({{"isa", versions.isa}, {"dtype", versions.dtype}})}});
}

}  // namespace clearhead::viewer::questions
