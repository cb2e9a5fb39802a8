// Reads the field of a recipe that describes its examples.
#include "tasks/recipe/example_kind.h"

#include "base/format.h"

namespace clearhead::tasks {

ChosenExamples read_examples(Fields& fields) {
  ChosenExamples out;
  for (const ExampleKind* kind : example_kinds()) {
    if (!kind->fields) continue;
    const std::string name(kind->name);
    const Json* object = fields.take(name.c_str());
    if (!object) continue;
    if (out) fields.wrong(name.c_str(), format("no second kind of examples besides \"{}\"", out.kind->name), *object);
    out = {kind, kind->make(object, fields.where(), fields.path_of(name))};
  }
  return out;
}

std::vector<FieldDescription> example_fields() {
  std::vector<FieldDescription> out;
  for (const ExampleKind* kind : example_kinds()) {
    if (!kind->fields) continue;
    out.push_back({std::string(kind->name), "an object", "none", std::string(kind->meaning)});
    for (FieldDescription& row : kind->fields()) {
      row.name = format("{}.{}", kind->name, row.name);
      out.push_back(std::move(row));
    }
  }
  return out;
}

}  // namespace clearhead::tasks
