// The post-processors of tokenizer.json: BertProcessing, RobertaProcessing, TemplateProcessing and ByteLevel become the
// steps Trim, ZeroTypes and Template.
#include "text/post_processor.h"

#include <algorithm>
#include <utility>

#include "base/format.h"
#include "text/parts.h"
#include "text/unicode.h"
#include "text/vocabulary.h"

namespace clearhead::text {
namespace {

class Trim : public PostProcessor {
 public:
  explicit Trim(bool add_prefix_space) : adds_space_(add_prefix_space) {}
  bool trims() const override { return true; }
  void apply(std::vector<Part>& parts, bool) const override {
    for (Part& part : parts) {
      for (size_t i = 0; i < part.tokens.size(); ++i) trim(part.text, part.tokens[i], i == 0);
    }
  }

 private:
  void trim(std::string_view text, Part::Token& token, bool is_first) const {
    // A single space before the first token comes from add_prefix_space, not from the text.
    const bool was_added = adds_space_ && (is_first || token.begin == 0) && token.blanks_before == 1;
    const uint32_t before = was_added ? 0 : token.blanks_before;
    for (uint32_t k = 0; k < before && token.begin < token.end; ++k) {
      token.begin += decode_valid(text, static_cast<size_t>(token.begin)).length;
    }
    for (uint32_t k = 0; k < token.blanks_after && token.end > token.begin; ++k) {
      token.end = static_cast<int64_t>(previous_boundary(text, static_cast<size_t>(token.end)));
    }
  }
  bool adds_space_;
};

class ZeroTypes : public PostProcessor {
 public:
  void apply(std::vector<Part>& parts, bool) const override {
    for (Part& part : parts) part.type_id = 0;
  }
};

class Template : public PostProcessor {
 public:
  Template(std::vector<TemplatePiece> single, std::vector<TemplatePiece> pair) : single_(std::move(single)), pair_(std::move(pair)) {}
  void apply(std::vector<Part>& parts, bool adds_special) const override {
    std::vector<Part> out;
    for (const TemplatePiece& piece : parts.size() == 1 ? single_ : pair_) {
      if (piece.sequence >= 0) {
        out.push_back(parts[static_cast<size_t>(piece.sequence)]);
        out.back().type_id = piece.type_id;
      } else if (adds_special) {
        Part part;
        part.segment = Part::kInserted;
        part.type_id = piece.type_id;
        for (const int32_t id : piece.tokens) part.tokens.push_back({id, 0, 0, 0, 0});
        out.push_back(std::move(part));
      }
    }
    parts = std::move(out);
  }

 private:
  std::vector<TemplatePiece> single_, pair_;
};

class Sequence : public PostProcessor {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PostProcessor>> steps) : steps_(std::move(steps)) {}
  bool trims() const override {
    return std::any_of(steps_.begin(), steps_.end(), [](const auto& step) { return step->trims(); });
  }
  void apply(std::vector<Part>& parts, bool adds_special) const override {
    for (const auto& step : steps_) step->apply(parts, adds_special);
  }

 private:
  std::vector<std::unique_ptr<PostProcessor>> steps_;
};

int32_t token_id(const Json& json, Fields& fields, std::string_view name) {
  if (!json.is_integer() || json.integer() < 0 || json.integer() > Vocabulary::kMaximumId) fields.wrong(name, "a token's id", json);
  return static_cast<int32_t>(json.integer());
}

// ["[SEP]", 102]
int32_t named_token(Fields& fields, std::string_view name) {
  const Json& value = fields.require(name);
  if (!value.is_array() || value.size() != 2) fields.wrong(name, "[\"token\", id]", value);
  return token_id(value.items()[1], fields, name);
}

struct NamedTokens {
  std::string name;
  std::vector<int32_t> ids;
};

std::vector<NamedTokens> read_named_tokens(Fields& fields, std::string_view where) {
  std::vector<NamedTokens> named;
  const Json& object = fields.require("special_tokens");
  if (!object.is_object()) fields.wrong("special_tokens", "an object", object);
  for (const auto& [name, value] : object.fields()) {
    Fields entry(value, where, fields.path_of("special_tokens") + "." + name);
    entry.take("id");
    entry.take("tokens");
    named.push_back({name, {}});
    for (const Json& id : entry.items("ids")) named.back().ids.push_back(token_id(id, entry, "ids"));
    entry.refuse_rest();
  }
  return named;
}

std::vector<TemplatePiece> read_pieces(Fields& fields, std::string_view name, const std::vector<NamedTokens>& named,
                                       std::string_view where) {
  std::vector<TemplatePiece> pieces;
  for (const Json& item : fields.items(name)) {
    Fields outer(item, where, format("{}[{}]", fields.path_of(name), pieces.size()));
    const Json* special = outer.take("SpecialToken");
    const Json* sequence = outer.take("Sequence");
    outer.refuse_rest();
    if ((special != nullptr) == (sequence != nullptr)) fields.wrong(name, "SpecialToken or Sequence", item);
    Fields inner(special ? *special : *sequence, where, outer.path_of(special ? "SpecialToken" : "Sequence"));
    TemplatePiece piece;
    const Json& id = inner.require("id");
    if (!id.is_string()) inner.wrong("id", "a string", id);
    const int64_t type_id = inner.integer_or("type_id", 0);
    if (type_id < 0 || type_id > 1'000'000) inner.wrong("type_id", "a segment", Json(type_id));
    piece.type_id = static_cast<int32_t>(type_id);
    inner.refuse_rest();
    if (sequence) {
      if (id.string() != "A" && id.string() != "B") inner.wrong("id", "A or B", id);
      piece.sequence = id.string() == "B";
      if (piece.sequence == 1 && name == "single") inner.wrong("id", "A, the only text", id);
    } else {
      const auto found = std::find_if(named.begin(), named.end(), [&](const NamedTokens& entry) { return entry.name == id.string(); });
      if (found == named.end()) inner.wrong("id", "a name from special_tokens", id);
      piece.tokens = found->ids;
    }
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

std::unique_ptr<PostProcessor> read_sequence(Fields& fields, std::string_view where) {
  size_t templates = 0;
  return std::make_unique<Sequence>(read_parts<PostProcessor>(fields, "processors", [&](const Json& item, const std::string& path) {
    const Json* type = item.find("type");
    templates += type && type->is_string() && type->string() != "ByteLevel";
    if (templates > 1)
      fail(ErrorCode::kUnsupported, "{}: \"{}\": expected at most one post-processor other than ByteLevel", where,
           fields.path_of("processors"));
    return read_post_processor(item, where, path);
  }));
}

}  // namespace

std::unique_ptr<PostProcessor> make_template(std::vector<TemplatePiece> single, std::vector<TemplatePiece> pair) {
  return std::make_unique<Template>(std::move(single), std::move(pair));
}

std::unique_ptr<PostProcessor> make_bert(int32_t cls, int32_t sep) {
  const TemplatePiece first{-1, {cls}, 0}, text{0, {}, 0}, end{-1, {sep}, 0}, pair{1, {}, 1}, pair_end{-1, {sep}, 1};
  return make_template({first, text, end}, {first, text, end, pair, pair_end});
}

std::unique_ptr<PostProcessor> make_roberta(int32_t cls, int32_t sep, bool trim_offsets, bool add_prefix_space) {
  const TemplatePiece first{-1, {cls}, 0}, text{0, {}, 0}, end{-1, {sep}, 0}, pair{1, {}, 0};
  std::vector<std::unique_ptr<PostProcessor>> steps;
  if (trim_offsets) steps.push_back(std::make_unique<Trim>(add_prefix_space));
  steps.push_back(make_template({first, text, end}, {first, text, end, end, pair, end}));
  steps.push_back(std::make_unique<ZeroTypes>());
  return std::make_unique<Sequence>(std::move(steps));
}

std::unique_ptr<PostProcessor> read_post_processor(const Json& json, std::string_view where, std::string_view path) {
  if (json.is_null()) return nullptr;
  Fields fields(json, where, path);
  const std::string type = fields.string("type");
  std::unique_ptr<PostProcessor> made;
  if (type == "TemplateProcessing") {
    const std::vector<NamedTokens> named = read_named_tokens(fields, where);
    auto single = read_pieces(fields, "single", named, where);
    made = make_template(std::move(single), read_pieces(fields, "pair", named, where));
  } else if (type == "BertProcessing") {
    const int32_t sep = named_token(fields, "sep");
    made = make_bert(named_token(fields, "cls"), sep);
  } else if (type == "RobertaProcessing") {
    const int32_t sep = named_token(fields, "sep"), cls = named_token(fields, "cls");
    const bool trims = fields.boolean_or("trim_offsets", true);
    made = make_roberta(cls, sep, trims, fields.boolean_or("add_prefix_space", true));
  } else if (type == "ByteLevel") {
    const bool adds_space = fields.boolean_or("add_prefix_space", true);
    const bool trims = fields.boolean_or("trim_offsets", true);
    fields.boolean_or("use_regex", true);  // only for the pre-tokenizer of the same name
    std::vector<std::unique_ptr<PostProcessor>> steps;
    if (trims) steps.push_back(std::make_unique<Trim>(adds_space));
    made = std::make_unique<Sequence>(std::move(steps));
  } else if (type == "Sequence") {
    made = read_sequence(fields, where);
  } else {
    fail(ErrorCode::kUnsupported, "{}: \"{}\" \"{}\" is not understood", where, fields.path_of("type"), type);
  }
  fields.refuse_rest();
  return made;
}

}  // namespace clearhead::text
