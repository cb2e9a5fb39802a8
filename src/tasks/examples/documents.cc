// Documents: JSON lines whose text is a list of sentences, or one text that is split into sentences; or a table with a text per line.
#include "models/input_text.h"
#include "tasks/data/json_lines.h"
#include "tasks/data/labelled_data.h"
#include "tasks/data/text_data.h"
#include "tasks/recipe/example_kind.h"

namespace clearhead::tasks {
namespace {

class Documents final : public Examples {
 public:
  std::vector<LabelledInput> read(const std::string& file, const Recipe& recipe, LeftOut* left_out) const override {
    std::vector<LabelledInput> out;
    const TaskRecipe& task = *recipe.task;
    if (!is_json_lines(file)) {
      for (LabelledLine& line : read_labelled(file, recipe, left_out))
        out.push_back({{.texts = sentences_of(line.text)}, line.labels.front(), line.where});
      return out;
    }
    const SourceText opened = open_text(recipe.source, file);
    for_each_json_object(opened.text, opened.path(), {}, [&](const Json& object, const std::string& where) {
      Fields fields(object, where);
      const Json& text = fields.require(task.data.text);
      LabelledInput one{.where = where};
      if (text.is_string()) {
        one.input.texts = sentences_of(text.string());
      } else {
        one.input.texts = fields.strings(task.data.text);
      }
      const Json& label = fields.require(task.data.label);
      one.label = label.is_string() ? label.string() : label.dump();
      out.push_back(std::move(one));
    });
    return out;
  }
};

}  // namespace

const ExampleKind& documents_examples() {
  static const ExampleKind kind = {
      .name = "documents",
      .reads = "document",
      .make = [](const Json*, const std::string&, const std::string&) -> std::unique_ptr<Examples> {
        return std::make_unique<Documents>();
      },
  };
  return kind;
}

}  // namespace clearhead::tasks
