// Evidence tables: the statistics that need no model, and the page. Python calls them for models that it runs itself.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>
#include <utility>
#include <vector>

#include "explain/evaluate/datamodeling.h"
#include "explain/evidence.h"
#include "module.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {

using namespace explain;  // NOLINT(google-build-using-namespace)

namespace {

using Prompts = std::vector<std::pair<std::vector<DocumentSet>, Rows>>;  // the sets and the drops of each

std::vector<MeasuredRemovals> removals_of(const Prompts& prompts) {
  std::vector<MeasuredRemovals> out;
  for (const auto& [sets, drops] : prompts) out.push_back({sets, drops});
  return out;
}

std::tuple<double, double, double> tuple_of(const metrics::Interval& of) { return {of.mean, of.low, of.high}; }

}  // namespace

void add_evidence(nb::module_& module) {
  module.def("_random_document_sets", &random_document_sets, "documents"_a, "count"_a, "seed"_a);
  module.def("_bm25", &bm25, "query"_a, "documents"_a);
  module.def(
      "_datamodeling_score",
      [](const std::vector<Rows>& shares, const Prompts& prompts, uint64_t seed, int64_t resamples) {
        return without_gil([&] { return tuple_of(datamodeling_score(shares, removals_of(prompts), seed, resamples)); });
      },
      "shares"_a, "prompts"_a, "seed"_a, "resamples"_a = 500);
  module.def(
      "_random_score",
      [](const Prompts& prompts, uint64_t seed) { return without_gil([&] { return tuple_of(random_score(removals_of(prompts), seed)); }); },
      "prompts"_a, "seed"_a);
  module.def(
      "_evidence_page",
      [](const std::string& title, const std::string& evidence, const std::vector<std::string>& texts) {
        return evidence_page(title, Json::parse(evidence, "evidence"), texts);
      },
      "title"_a, "evidence"_a, "texts"_a);
}

}  // namespace clearhead::python
