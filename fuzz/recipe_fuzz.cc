// Besides: tasks/recipe/recipe.cc tasks/recipe/schema.cc tasks/data/json_lines.cc tasks/recipe/task_definition.cc tasks/recipe/labelled_recipe.cc tasks/recipe/example_kind.cc tasks/data/picture_table.cc tasks/data/picture_records.cc tasks/data/class_folder.cc models/input_picture.cc
// A training recipe is read or refused with a one-line error, as are key=value overrides.
#include "base/json.h"
#include "fuzz.h"
#include "models/find_model.h"
#include "numbers.h"
#include "tasks/recipe/recipe.h"

namespace clearhead {
std::string model_directory(const std::string& name) { return name; }  // replaces models/load.cc
}  // namespace clearhead

using namespace clearhead;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  allow_errors([&] {
    const Json json = Json::parse({reinterpret_cast<const char*>(data), size}, "recipe.json");
    const tasks::Recipe recipe = tasks::Recipe::from(json, "recipe.json");
    must(recipe.batch > 0 && recipe.length > 0 && recipe.accumulate > 0 && recipe.steps >= 0);
  });
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  return change_numbers(JsonPlace::kWhole, data, size, max_size, seed);
}
