// Explanations of the runs of other libraries: attribution methods replay the calls of a trace, and call Python for what only the watched
// model can compute.
#include <nanobind/nanobind.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <utility>

#include "arrays.h"
#include "clearhead/error.h"
#include "explain/attribution.h"
#include "explain/items.h"
#include "explain/replayed_target.h"
#include "models/input_text.h"
#include "module.h"
#include "viewer/words.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {
namespace {

using namespace explain;  // NOLINT(google-build-using-namespace)

struct Replayed {
  nb::object trace;  // keeps the trace alive
  std::unique_ptr<AttributionTarget> target;
};

std::vector<double> numbers_of(const nb::object& given) { return nb::cast<std::vector<double>>(given); }

// Sets as lists of the ids that are removed.
nb::list ids_of_sets(const std::vector<std::vector<uint8_t>>& removed) {
  nb::list out;
  for (const std::vector<uint8_t>& set : removed) {
    nb::list ids;
    for (size_t id = 0; id < set.size(); ++id) {
      if (set[id]) ids.append(id);
    }
    out.append(ids);
  }
  return out;
}

std::vector<InputTape::Input> inputs_of(const nb::object& given) {
  std::vector<InputTape::Input> out;
  for (const nb::handle one : given) {
    const nb::object values = nb::borrow(one[1]), gradient = nb::borrow(one[2]);
    InputTape::Input input{nb::cast<std::string>(one[0]), tensor_of(values, "values").clone(), {}};
    if (!gradient.is_none()) input.gradient = tensor_of(gradient, "gradient").clone();
    out.push_back(std::move(input));
  }
  return out;
}

// sites: (family, layer, side of the queries, side of the keys). The functions of `calls` are called with the GIL.
Replayed replayed_of(const nb::object& trace, const std::vector<std::tuple<std::string, int, std::string, std::string>>& sites,
                     const std::string& answer, double probability, bool is_number, const std::string& side,
                     const std::vector<int64_t>& rows, const std::array<int64_t, 2>& written, const std::vector<int64_t>& removable,
                     const nb::dict& calls) {
  ReplayedRun run{.answer = answer,
                  .probability = probability,
                  .is_number = is_number,
                  .side = side,
                  .rows = rows,
                  .written = {written[0], written[1]}};
  run.trace = std::shared_ptr<const Trace>(&nb::cast<const Trace&>(trace), [](const Trace*) {});
  for (const auto& [family, layer, queries, keys] : sites)
    run.sites.push_back({.family = family, .layer = layer, .queries = queries, .keys = keys});
  for (const int64_t id : removable) run.removable.push_back({id, id + 1});
  const nb::object answers = calls["answers"], inputs = calls["inputs"], mixed = calls["mixed_vectors"],
                   zeroed = calls["states_without_value"];
  run.answers = [answers](const std::vector<std::vector<uint8_t>>& removed, RemovedBy how) {
    const nb::gil_scoped_acquire gil;
    return numbers_of(answers(ids_of_sets(removed), to_string(how)));
  };
  run.inputs = [inputs](float scale) {
    const nb::gil_scoped_acquire gil;
    return inputs_of(inputs(scale));
  };
  run.mixed_vectors = [mixed](int layer, int64_t row) {
    const nb::gil_scoped_acquire gil;
    return tensor_of(mixed(layer, row), "vectors").clone();
  };
  run.states_without_value = [zeroed](int layer, int64_t token) {
    const nb::gil_scoped_acquire gil;
    return tensor_of(zeroed(layer, token), "states").clone();
  };
  return {trace, make_replayed_target(std::move(run))};
}

nb::object shares_of(const Replayed& self, const std::string& method, std::optional<int> layer, std::optional<int64_t> head, int64_t steps,
                     const std::string& removal) {
  const Method& info = method_named(method);
  const AttributionOptions options{
      .layer = layer, .head = head, .steps = steps, .removal = removal == "masked" ? RemovedBy::kMasked : RemovedBy::kUnseen};
  const std::vector<double> shares = without_gil([&] {
    check_used(options, {info}, *self.target);
    return attribute(*self.target, info, options);
  });
  return nb::cast(shares);
}

nb::list items_of(const Replayed& self) {
  nb::list out;
  for (const Range& item : self.target->items()) out.append(nb::make_tuple(item.begin, item.end));
  return out;
}

// units: "token", "word" or "sentence", or ranges of ids.
void group(Replayed& self, const nb::object& units) {
  AttributionTarget& target = *self.target;
  std::vector<Range> items = target.items();
  if (!nb::isinstance<nb::str>(units)) {
    items.clear();
    for (const auto& [begin, end] : nb::cast<std::vector<std::array<int64_t, 2>>>(units)) items.push_back({begin, end});
  } else if (const auto name = nb::cast<std::string>(units); name == "word") {
    items = items_of_words(target, viewer::words_of(target.plan().text));
  } else if (name == "sentence") {
    items = items_of_sentences(target);
  }
  target.set_items(std::move(items));
}

}  // namespace

void add_replayed(nb::module_& module) {
  nb::class_<Replayed>(module, "_Replayed")
      .def("items", &items_of)
      .def("group", &group, "units"_a)
      .def("shares", &shares_of, "method"_a, "layer"_a = nb::none(), "head"_a = nb::none(), "steps"_a = 32, "removal"_a = "unseen")
      .def("runs", [](const Replayed& self, const std::string& method, int64_t steps) {
        return runs_of(*self.target, method_named(method), {.steps = steps});
      });
  module.def("_replayed", &replayed_of, "trace"_a, "sites"_a, "answer"_a, "probability"_a, "is_number"_a, "side"_a, "rows"_a, "written"_a,
             "removable"_a, "calls"_a);
  module.def("_sentences", &sentences_of, "text"_a);
  module.def("_attribution_methods", [] {
    nb::list out;
    for (const Method& info : attribution_methods())
      out.append(
          nb::make_tuple(info.name, info.what, info.needs_gradients, info.of_a_layer, info.of_heads, info.removes_items, info.of_inputs));
    return out;
  });
}

}  // namespace clearhead::python
