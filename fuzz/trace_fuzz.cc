// Besides: backends/dense.cc backends/ref/*.cc observe/*.cc
// The bytes of a trace file: the maps of a trace that loads can be read. They are computed by the reference backend, which sanitizers can
// check.
#include <algorithm>

#include "backends/ref/ref.h"
#include "backends/registry.h"
#include "clearhead/atlas.h"
#include "clearhead/trace.h"
#include "fuzz.h"
#include "memory_file.h"
#include "numbers.h"

namespace clearhead {
const Backend& backend() { return ref_backend(); }  // replaces registry.cc, which would link the kernels
}  // namespace clearhead

using namespace clearhead;

namespace {

void look(const Trace& trace, const MapFamily& family, int layer) {
  const LayerMap map = trace.map(family.name, layer);
  must(map.queries() >= 0 && map.keys() >= 0);
  if (map.heads() == 0 || map.queries() * map.keys() > 4096) return;
  const std::vector<Range> rows = map.rows_kept();
  allow_errors([&] {
    for (const Range& range : rows) {
      must(range.begin >= 0 && range.begin <= range.end && range.end <= map.queries());
      for (int64_t query = range.begin; query < std::min(range.end, range.begin + 4); ++query) {
        must(map.has_row(query));
        must(static_cast<int64_t>(map.row(map.heads() - 1, query).weights().size()) == map.keys());
      }
    }
  });
  allow_errors([&] { map.column(0, map.keys() - 1, {0, map.queries()}); });
  allow_errors([&] { map.tile(0, {.queries = {0, map.queries()}, .keys = {0, map.keys()}, .cells = {3, 2}}); });
  allow_errors([&] { map.mass({0, map.queries()}, {0, map.keys()}); });
  allow_errors([&] {
    const LayerMap gradients = map.with(GradientLook::kProduct);
    gradients.tile(0, {.queries = {0, map.queries()}, .keys = {0, map.keys()}, .cells = {3, 2}});
    if (!rows.empty() && rows[0].size() > 0) gradients.row(map.heads() - 1, rows[0].begin);
  });
  const KeyNorms& norms = trace.norms(family.name, layer);
  must(!norms.output.defined() || norms.output.rank() == 3);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile file(data, size);
  allow_errors([&] {
    const Trace trace = Trace::load(file.path());
    must(trace.id().size() == 16);
    const RunText& text = trace.plan().text;
    must(text.ids.size() == text.offsets.size() && text.ids.size() == text.special.size() && text.ids.size() == text.pieces.size());
    must(delimiters_of(text).size() == text.ids.size());
    for (const MapFamily& family : trace.plan().families) {
      for (const int layer : trace.layers(family.name)) allow_errors([&] { look(trace, family, layer); });
      if (text.ids.size() <= 64) allow_errors([&] { head_atlas(trace, family.name); });
    }
  });
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return change_numbers(JsonPlace::kHeader, data, size, max_size, seed);
}
