// Reads example.json field by field. The file that it names is in the same directory, so a copy of the directory is complete.
#include "models/example.h"

#include <filesystem>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "models/input_kind.h"

namespace clearhead {
namespace {

std::string text_of(Fields& fields) {
  const Json& input = fields.require("input");
  if (input.is_string()) return input.string();
  if (!input.is_array()) fields.wrong("input", "a text, or a list of its lines", input);
  std::string text;
  for (const std::string& line : fields.strings("input")) text += (text.empty() ? "" : "\n") + line;
  return text;
}

std::string given(Fields& fields, std::string_view name) {
  std::string value = fields.string(name);
  if (value.empty()) fields.wrong(name, "some text", Json(value));
  return value;
}

Bilingual bilingual(Fields& fields, const std::string& path, const char* name) {
  Fields of(fields.require(name), path, name);
  Bilingual out{.en = given(of, "en"), .zh = given(of, "zh")};
  of.refuse_rest();
  return out;
}

// "change", whose word "from" must occur exactly once in the input.
std::optional<WordChange> change_of(Fields& fields, const std::string& path, const ModelExample& example, bool reads_file) {
  const Json* json = fields.take("change");
  if (!json) return std::nullopt;
  Fields of(*json, path, "change");
  WordChange out{.from = given(of, "from"), .to = given(of, "to")};
  of.refuse_rest();
  const size_t at = example.input.find(out.from);
  if (reads_file || at == std::string::npos || example.input.find(out.from, at + 1) != std::string::npos)
    fields.wrong("change", "a word \"from\" that occurs exactly once in \"input\", which is a text", *json);
  return out;
}

}  // namespace

std::string changed_input(const ModelExample& example) {
  std::string out = example.input;
  return out.replace(out.find(example.change->from), example.change->from.size(), example.change->to);
}

ModelExample read_example(const ModelInfo& model) {
  const std::string path = model.directory + "/example.json";
  const Json json = Json::parse(read_config(path), path);
  Fields fields(json, path);
  ModelExample out{.input = text_of(fields), .question = fields.string_or("question", ""), .state = given(fields, "state")};
  if (out.input.empty()) fields.wrong("input", "some text", *json.find("input"));
  out.title = bilingual(fields, path, "title");
  out.look_for = bilingual(fields, path, "look_for");
  out.order = fields.integer_or("order", out.order);
  const InputKind& kind = input_kind(model);
  out.change = change_of(fields, path, out, kind.is_file());
  fields.refuse_rest();
  if (kind.is_file()) {
    out.input = model.directory + "/" + out.input;
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(out.input, ignored))
      fail(ErrorCode::kNotFound, "{}: \"input\" names {}, which does not exist; expected the path of a {}", path, out.input, kind.file());
  }
  return out;
}

}  // namespace clearhead
