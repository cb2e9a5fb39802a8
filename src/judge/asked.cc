// Words of a question become numbers of a vocabulary; an encoder-decoder writes before it is asked.
#include "judge/asked.h"

#include "base/format.h"
#include "base/utf8.h"
#include "clearhead/error.h"
#include "clearhead/generate.h"
#include "generate/parts.h"
#include "text/strings.h"

namespace clearhead::judge {
std::optional<int64_t> place_in(const std::string& of) {
  if (!of.starts_with("token ")) return std::nullopt;
  int64_t at = 0;
  for (const char digit : of.substr(6)) {
    if (digit < '0' || digit > '9' || at > 1'000'000'000) return std::nullopt;
    at = 10 * at + (digit - '0');
  }
  return of.size() > 6 ? std::optional(at) : std::nullopt;
}

std::string quoted(std::string_view text) { return "\"" + std::string(text) + "\""; }

int32_t token_named(const Model& model, const std::string& word, bool after_text) {
  const Tokenizer& tokenizer = model.tokenizer();
  const Encoding spaced = tokenizer.encode(after_text && !word.starts_with(" ") ? " " + word : word, {.add_special_tokens = false});
  const Encoding found = spaced.ids.empty() ? tokenizer.encode(word, {.add_special_tokens = false}) : spaced;
  if (found.ids.empty()) fail(ErrorCode::kNotFound, "{}: {} holds no token of the vocabulary", model.info().name, quoted(word));
  return found.ids[0];
}

std::string spelled(const Model& model, int32_t id) {
  const std::shared_ptr<const Tokenizer> known = model.info().vocabulary > 0 ? tokenizer_of(model) : nullptr;
  if (!known) return format("#{}", id);
  const Tokenizer& tokenizer = *known;
  const std::string bytes = tokenizer.token_bytes(id);
  return quoted(bytes.empty() || valid_utf8_prefix(bytes) < bytes.size() ? std::string(tokenizer.token(id)) : bytes);
}

void keep_first(Encoding& encoding, size_t count) {
  encoding.ids.resize(count);
  encoding.type_ids.resize(count);
  encoding.offsets.resize(count);
  encoding.segment.resize(count);
}

int64_t written_token(const Model& model, const std::string& of, const WrittenText& target) {
  const auto count = static_cast<int64_t>(target.encoding.ids.size()) - 1;
  if (count < 1) fail(ErrorCode::kInvalidArgument, "{}: nothing is written from this text", model.info().name);
  const std::optional<int64_t> at = of.empty() ? std::optional<int64_t>(0) : place_in(of);
  if (at && *at < count) return *at;
  if (at) fail(ErrorCode::kNotFound, "{}: token {} of {} tokens that are written: {}", model.info().name, *at, count, quoted(target.text));
  const size_t found = target.text.find(of);
  for (int64_t token = 0; found != std::string::npos && token < count; ++token) {
    if (target.encoding.offsets[static_cast<size_t>(token + 1)][1] > static_cast<int64_t>(found)) return token;
  }
  fail(ErrorCode::kNotFound, "{}: {} is not in what is written: {}", model.info().name, quoted(of), quoted(target.text));
}

ReadAndWritten read_and_write(const Model& model, const std::string& source, const std::optional<std::string>& given) {
  const Tokenizer& tokenizer = model.tokenizer();
  ReadAndWritten out{.source = tokenizer.encode(source)};
  if (out.source.ids.empty()) fail(ErrorCode::kInvalidArgument, "{}: the text has no token", model.info().name);
  const std::vector<int32_t> written =
      given ? tokenizer.encode(*given).ids
            : generate_from(model, {out.source},
                            {.max_tokens = default_max_tokens(model, 128), .beams = default_beams(model, {.count = 4})})[0]
                  .ids;
  out.target = written_text(model.info().first_token, written, &tokenizer);
  return out;
}

Interventions hidden_keys(const RunPlan& plan, const std::vector<Range>& items, const std::vector<uint8_t>& away) {
  Interventions out;
  for (const MapFamily& family : plan.families) {
    const int64_t first = family.is_part ? family.first_key : 0;
    for (const Range& item : items) {
      for (int64_t id = item.begin; id < item.end; ++id) {
        if (away[static_cast<size_t>(id)] && id >= first && id < first + family.keys)
          out.knockouts.push_back({{0, family.queries}, {id - first, id - first + 1}, {}, {}, family.name});
      }
    }
  }
  return out;
}

}  // namespace clearhead::judge
