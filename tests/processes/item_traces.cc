// Writes the synthetic traces of items (tests/item_traces.h) to DIRECTORY/NAME.trace, for the browser tests and for manual inspection.
#include "item_traces.h"

#include <cstdio>
#include <filesystem>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: clearhead-item-traces DIRECTORY\n", stderr);
    return 2;
  }
  std::filesystem::create_directories(argv[1]);
  for (const auto& [name, make] : clearhead::item_traces::all()) make().save(std::string(argv[1]) + "/" + name + ".trace");
  return 0;
}
