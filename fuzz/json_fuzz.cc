// Any text as JSON: a value that parses is written and read back unchanged.
#include "base/json.h"
#include "fuzz.h"
#include "numbers.h"

using namespace clearhead;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  allow_errors([&] {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const Json json = Json::parse(text, "fuzz.json");
    const std::string once = json.dump();
    must(Json::parse(once, "dump").dump() == once);
    allow_errors([&] {
      Fields fields(json, "fuzz.json");
      fields.integer_or("a", 1);
      fields.number_or("b", 1);
      fields.boolean_or("c", true);
      fields.string_or("d", "");
      fields.integer("e");
      fields.refuse_rest();
    });
  });
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return change_numbers(JsonPlace::kWhole, data, size, max_size, seed);
}
