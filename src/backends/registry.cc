// Chooses the best complete table that runs here: cpu with AVX-512, cpu with AVX2, then ref. For a name that is unknown
// or cannot run here, the error names an alternative.
#include "backends/registry.h"

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>

#include "backends/cpu/cpu.h"
#include "backends/ref/ref.h"
#include "base/format.h"

namespace clearhead {
namespace {

std::atomic<const Backend*> chosen{nullptr};

// A process takes all its functions from one table, so a table that lacks one of these is never returned.
bool is_whole(const Backend& table) {
  const DenseOps& dense = table.dense;
  return table.refusal && table.forward && table.weights && table.sweep && dense.prepare && dense.linear && dense.norm && dense.embed &&
         dense.rotary && dense.activate;
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// The best complete table with this name and instruction set; an empty string matches any. `asked_by` opens the message.
const Backend& table_for(std::string_view name, std::string_view isa, const char* asked_by) {
  if (name != "ref" && name != "cpu" && !name.empty()) {
    fail(ErrorCode::kUnsupported, "{}: there is no backend \"{}\"; expected ref or cpu", asked_by, name);
  }
  if (isa != "avx2" && isa != "avx512" && !isa.empty()) {
    fail(ErrorCode::kUnsupported, "{}: there is no instruction set \"{}\"; expected avx2 or avx512", asked_by, isa);
  }
  const std::vector<const Backend*> tables = runnable_backends();
  for (size_t i = tables.size(); i-- > 0;) {
    const bool is_ref = tables[i]->isa == InstructionSet::kReference;
    const bool fits =
        is_ref ? name == "ref" || (name.empty() && isa.empty()) : name != "ref" && (isa.empty() || isa == to_string(tables[i]->isa));
    if (fits) return *tables[i];
  }
  fail(ErrorCode::kUnsupported, "{}: backend \"cpu\"{}{} cannot run on this machine; leave it unset to use \"{}\"", asked_by,
       isa.empty() ? "" : " with ", isa, tables.back()->name);
}

const Backend& from_environment() {
  return table_for(environment("CLEARHEAD_BACKEND"), environment("CLEARHEAD_ISA"), "CLEARHEAD_BACKEND, CLEARHEAD_ISA");
}

}  // namespace

const Backend& backend() {
  const Backend* table = chosen.load(std::memory_order_acquire);
  if (table) return *table;
  const Backend* first = &from_environment();
  const Backend* none = nullptr;
  chosen.compare_exchange_strong(none, first, std::memory_order_acq_rel);
  return *chosen.load(std::memory_order_acquire);
}

void choose_backend(std::string_view name) {
  const bool is_isa = name == "avx2" || name == "avx512";
  const Backend& table = is_isa ? table_for("cpu", name, "backend") : table_for(name, environment("CLEARHEAD_ISA"), "backend");
  chosen.store(&table, std::memory_order_release);
}

std::vector<const Backend*> runnable_backends() {
  std::vector<const Backend*> tables;
  for (const Backend* table : {&ref_backend(), cpu_backend(InstructionSet::kAvx2), cpu_backend(InstructionSet::kAvx512)}) {
    if (table && is_whole(*table)) tables.push_back(table);
  }
  return tables;
}

}  // namespace clearhead
