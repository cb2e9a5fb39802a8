// Evidence tables: the statistics that need no model, and the page. Python calls them for models that it runs itself.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#include "explain/evaluate/datamodeling.h"
#include "explain/evidence.h"
#include "module.h"
#include "without_gil.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace clearhead::python {

using namespace explain;  // NOLINT(google-build-using-namespace)

void add_evidence(nb::module_& module) {
  module.def("_random_document_sets", &random_document_sets, "documents"_a, "count"_a, "seed"_a);
  module.def("_bm25", &bm25, "query"_a, "documents"_a);
  module.def(
      "_datamodeling_score",
      [](const Rows& shares, const std::vector<DocumentSet>& sets, const Rows& drops, uint64_t seed, int64_t resamples) {
        const metrics::Interval found = without_gil([&] { return datamodeling_score(shares, sets, drops, seed, resamples); });
        return std::tuple(found.mean, found.low, found.high);
      },
      "shares"_a, "sets"_a, "drops"_a, "seed"_a, "resamples"_a = 500);
  module.def(
      "_evidence_page",
      [](const std::string& title, const std::string& evidence, const std::vector<std::string>& texts) {
        return evidence_page(title, Json::parse(evidence, "evidence"), texts);
      },
      "title"_a, "evidence"_a, "texts"_a);
}

}  // namespace clearhead::python
