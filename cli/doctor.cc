// clearhead doctor: what this machine and this build can do.
#include <cstdlib>
#include <fstream>

#include "backends/cpu/cpu.h"
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

// How attention multiplies bf16 there.
std::string way_over_bf16(const Backend& table) {
  const cpu::Bf16Way way = cpu::bf16_way();  // says what is wrong with CLEARHEAD_BF16, whatever computes
  if (table.isa != InstructionSet::kAvx512) return "widen";
  return way == cpu::Bf16Way::kAmx ? "amx" : way == cpu::Bf16Way::kDot ? "dot" : "widen";
}
std::string in_words(const std::string& way) {
  return way == "amx" ? "multiplies matrices (AMX)" : way == "dot" ? "takes dot products of bf16 (VDPBF16PS)" : "widens to f32";
}

}  // namespace

void add_doctor(CLI::App& app) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("doctor", "Report what this machine and this build can do");
  command->footer(
      "Example: clearhead doctor --json\n"
      "Environment variables, of every command:\n"
      "  CLEARHEAD_BACKEND=ref|cpu          which backend computes\n"
      "  CLEARHEAD_ISA=avx2|avx512          which instruction set it uses\n"
      "  CLEARHEAD_BF16=amx|dot|widen       how AVX-512 multiplies bf16 in attention: AMX, VDPBF16PS, or widened to f32");
  command->add_flag("--json", *json, "Print JSON");
  command->callback([json] {
    Json backends = Json::array();
    for (const Backend* table : runnable_backends()) backends.push(format("{} ({})", table->name, to_string(table->isa)));
    const Backend& chosen = backend();
    const std::string way = way_over_bf16(chosen);
    Json forced = Json::object();
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
                               {"backends", backends},
                               {"forced", forced}}));
      return;
    }
    print("clearhead " CLEARHEAD_VERSION);
    print(format("  processor  {}, {} threads, {}", processor(), threads(), human_bytes(physical_memory())));
    print(format("  computes with  {} ({})", chosen.name, to_string(chosen.isa)));
    print("  attention over bf16  " + in_words(way));
    std::string all;
    for (const Json& item : backends.items()) all += (all.empty() ? "" : ", ") + item.string();
    print("  can compute with  " + all);
    for (const auto& [name, value] : forced.fields()) print(format("  forced by {}={}", name, value.string()));
    if (chosen.isa == InstructionSet::kReference) print("  this processor has no AVX2: everything works, slowly");
  });
}

}  // namespace clearhead::cli
