// clearhead doctor: reports the machine, the available backends, and the driver that computes each common attention call.
#include <cstdlib>
#include <fstream>

#include "backends/cpu/dispatch.h"
#include "backends/registry.h"
#include "base/format.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "cli/cli.h"

namespace clearhead::cli {
namespace {

std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

// How attention multiplies bf16 with this backend: "amx", "dot" or "widen".
std::string way_over_bf16(const Backend& table) {
  const cpu::Products products = cpu::bf16_products();  // reports an invalid CLEARHEAD_BF16 with any backend
  if (table.isa != InstructionSet::kAvx512) return "widen";
  return products == cpu::Products::kAmx ? "amx" : products == cpu::Products::kBf16Dot ? "dot" : "widen";
}
std::string in_words(const std::string& way) {
  return way == "amx" ? "multiplies matrices (AMX)" : way == "dot" ? "computes dot products of bf16 (VDPBF16PS)" : "widens to f32";
}

// Common attention calls, and the driver that computes each on this machine.
std::vector<std::pair<std::string, std::string>> drivers_here(InstructionSet isa) {
  std::vector<std::pair<std::string, std::string>> out;
  const auto add = [&](std::string name, const AttentionSpec& spec, int64_t queries, int64_t keys, DType dtype,
                       std::optional<DType> pages) {
    cpu::CallFacts facts{.spec = spec, .machine = cpu::this_machine(isa)};
    facts.queries = facts.query_length = queries;
    facts.keys = keys;
    facts.d_k = facts.d_v = 64;
    facts.dtype = dtype, facts.pages = pages;
    out.emplace_back(std::move(name), describe(cpu::choose_forward(facts)));
  };
  AttentionSpec linear{.normaliser = LinearAttention{}}, sparsemax{.normaliser = Sparsemax{}}, graph;
  linear.topology = causal();
  graph.topology.block_sparse = BlockSparse{};
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const std::string in = std::string(", ") + to_string(dtype);
    add("prompt of 2,048 tokens" + in, {}, 2048, 2048, dtype, std::nullopt);
    add("4 beams over a KV cache" + in, {}, 4, 2048, dtype, dtype);
    add("one token over a KV cache" + in, {}, 1, 2048, dtype, dtype);
  }
  add("100 rows of a long prompt, f32", {}, 100, 32768, DType::kF32, std::nullopt);
  add("graph of single nodes, f32", graph, 2048, 2048, DType::kF32, std::nullopt);
  add("linear attention, f32", linear, 2048, 2048, DType::kF32, std::nullopt);
  add("sparsemax, f32", sparsemax, 2048, 2048, DType::kF32, std::nullopt);
  return out;
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("doctor", "Report what this machine and this build can do");
  command->footer(
      "Example: clearhead doctor --json\n"
      "Environment variables, for every command:\n"
      "  CLEARHEAD_BACKEND=ref|cpu          backend to use\n"
      "  CLEARHEAD_ISA=avx2|avx512          instruction set to use\n"
      "  CLEARHEAD_BF16=amx|dot|widen       how AVX-512 multiplies bf16 in attention: AMX, VDPBF16PS, or widened to f32");
  command->add_flag("--json", *json, "Print JSON");
  command->callback([json] {
    Json backends = Json::array();
    for (const Backend* table : runnable_backends()) backends.push(format("{} ({})", table->name, to_string(table->isa)));
    const Backend& chosen = backend();
    const std::string way = way_over_bf16(chosen);
    std::vector<std::pair<std::string, std::string>> drivers;
    if (chosen.isa != InstructionSet::kReference) drivers = drivers_here(chosen.isa);
    Json forced = Json::object(), chosen_drivers = Json::object();
    for (const auto& [call, driver] : drivers) chosen_drivers[call] = driver;
    for (const char* name : {"CLEARHEAD_BACKEND", "CLEARHEAD_ISA", "CLEARHEAD_BF16"}) {
      if (const char* value = std::getenv(name)) forced[name] = value;
    }
    if (*json) {
      print_json(Json::object({{"version", CLEARHEAD_VERSION},
                               {"processor", processor()},
                               {"threads", threads()},
                               {"memory_bytes", physical_memory()},
                               {"backend", chosen.name},
                               {"isa", to_string(chosen.isa)},
                               {"bf16", way},
                               {"drivers", chosen_drivers},
                               {"backends", backends},
                               {"forced", forced}}));
      return;
    }
    print("clearhead " CLEARHEAD_VERSION);
    print(format("  processor  {}, {} threads, {}", processor(), threads(), human_bytes(physical_memory())));
    print(format("  backend  {} ({})", chosen.name, to_string(chosen.isa)));
    print("  attention in bf16  " + in_words(way));
    std::string all;
    for (const Json& item : backends.items()) all += (all.empty() ? "" : ", ") + item.string();
    print("  available backends  " + all);
    if (!drivers.empty()) print("  drivers of attention (8 heads, d = 64):");
    for (const auto& [call, driver] : drivers) print(format("    {:<34} {}", call, driver));
    for (const auto& [name, value] : forced.fields()) print(format("  forced by {}={}", name, value.string()));
    if (chosen.isa == InstructionSet::kReference)
      print("  the reference backend is slow: this processor has no AVX2, or CLEARHEAD_BACKEND=ref is set");
  });
}

}  // namespace clearhead::cli
