// The loop of generation: prefill, then draw, give out, step. No cache is ever copied; logits are made for the last position only.
#include "clearhead/generate.h"

#include <algorithm>
#include <filesystem>

#include "base/file.h"
#include "base/format.h"
#include "base/json.h"
#include "clearhead/tokenizer.h"
#include "generate/sampling.h"

namespace clearhead {
namespace {

/// Null for a model loaded without one.
std::shared_ptr<const Tokenizer> tokenizer_of(const Model& model) {
  try {
    return model.shared_tokenizer();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    return nullptr;
  }
}

class Generation {
 public:
  Generation(const Model& model, const Encoding& prompt, const GenerateOptions& options)
      : model_(model),
        prompt_(prompt),
        options_(options),
        stop_ids_(options.stop_ids ? *options.stop_ids : end_tokens(model)),
        seen_(prompt.ids),
        tokenizer_(tokenizer_of(model)) {
    if (tokenizer_) stream_.emplace(tokenizer_, /*skip_special=*/true);
    made_.prompt_tokens = static_cast<int64_t>(prompt.ids.size());
    made_.reason = StopReason::kMaxTokens;
    cache_.dtype = options.cache;
  }

  Generated run() {
    if (options_.max_tokens == 0) return std::move(made_);
    RunOptions run = options_.run;
    run.logits = true;
    run.last_logits_only = true;
    run.all_hidden = false;
    if (run.observer != nullptr) run.observer->begin(model_.plan_of(prompt_, run));
    std::vector<int32_t> next = prompt_.ids;
    while (!is_cancelled()) {
      const Tensor logits = model_.step(next, cache_, run).causal_logits.contiguous();
      const Drawn drawn = draw_token(logits.data<float>(), logits.numel(), options_.sampling, seen_, made_.ids.size());
      if (!give_out(drawn, run.observer)) break;
      next = {drawn.id};
    }
    if (stream_ && made_.reason != StopReason::kStopText) made_.text += stream_->finish();
    return std::move(made_);
  }

 private:
  bool is_cancelled() {
    if (options_.cancel == nullptr || !options_.cancel->load()) return false;
    made_.reason = StopReason::kCancelled;
    return true;
  }

  /// Tells everyone who asked; false where the generation ends with this token.
  bool give_out(const Drawn& drawn, Observer* observer) {
    GenerationStep step;
    step.index = static_cast<int64_t>(made_.ids.size());
    step.token.id = drawn.id;
    step.token.probability = drawn.probability;
    if (tokenizer_) {
      step.token.piece = std::string(tokenizer_->token(drawn.id));
      step.token.bytes = tokenizer_->token_bytes(drawn.id);
      step.text = stream_->push(drawn.id);
    }
    seen_.push_back(drawn.id);
    made_.ids.push_back(drawn.id);
    made_.tokens.push_back(step.token);
    const bool stops_in_text = ends_in_stop_text(step.text);
    if (observer != nullptr) observer->generated(step.token);
    const bool goes_on = !options_.on_token || options_.on_token(step);
    return !ends(drawn.id, stops_in_text, goes_on);
  }

  bool ends(int32_t id, bool stops_in_text, bool goes_on) {
    const auto because = [&](StopReason reason) {
      made_.reason = reason;
      return true;
    };
    if (std::find(stop_ids_.begin(), stop_ids_.end(), id) != stop_ids_.end()) return because(StopReason::kStopToken);
    if (stops_in_text) return because(StopReason::kStopText);
    if (!goes_on) return because(StopReason::kCallback);
    if (static_cast<int64_t>(made_.ids.size()) >= options_.max_tokens) return because(StopReason::kMaxTokens);
    const int64_t longest = model_.info().longest;
    if (longest > 0 && static_cast<int64_t>(seen_.size()) > longest) return because(StopReason::kPositions);
    return false;
  }

  /// Adds what became certain of the text; cuts it, and `added`, before the first stop text.
  bool ends_in_stop_text(std::string& added) {
    const size_t before = made_.text.size();
    made_.text += added;
    size_t cut = std::string::npos;
    for (const std::string& stop : options_.stop_texts) {
      const size_t from = before >= stop.size() ? before - stop.size() + 1 : 0;
      cut = std::min(cut, made_.text.find(stop, from));
    }
    if (cut == std::string::npos) return false;
    made_.text.resize(cut);
    added = cut > before ? made_.text.substr(before) : std::string();
    return true;
  }

  const Model& model_;
  const Encoding& prompt_;
  const GenerateOptions& options_;
  std::vector<int32_t> stop_ids_;
  std::vector<int32_t> seen_;  // prompt and new tokens
  std::shared_ptr<const Tokenizer> tokenizer_;
  std::optional<TokenStream> stream_;
  ModelCache cache_;
  Generated made_;
};

/// "eos_token_id" of one JSON file: a number or a list; nothing if there is no such file or field.
std::vector<int32_t> end_tokens_in(const std::string& path) {
  std::vector<int32_t> ids;
  if (!std::filesystem::exists(path)) return ids;
  const Json config = Json::parse(read_file(path), path);
  const Json* field = config.find("eos_token_id");
  if (field == nullptr || field->is_null()) return ids;
  const Json::Array items = field->is_array() ? field->items() : Json::Array{*field};
  for (const Json& item : items) {
    if (!item.is_integer())
      fail(ErrorCode::kFormat, "{}: \"eos_token_id\": expected an integer or a list of them, found {}", path, item.describe());
    ids.push_back(static_cast<int32_t>(item.integer()));
  }
  return ids;
}

}  // namespace

const char* to_string(StopReason reason) {
  switch (reason) {
    case StopReason::kMaxTokens: return "max_tokens";
    case StopReason::kStopToken: return "stop_token";
    case StopReason::kStopText: return "stop_text";
    case StopReason::kPositions: return "positions";
    case StopReason::kCallback: return "callback";
    case StopReason::kCancelled: return "cancelled";
  }
  return "";
}

std::vector<int32_t> end_tokens(const Model& model) {
  const std::string directory = model.info().directory;
  for (const char* name : {"generation_config.json", "config.json"}) {
    std::vector<int32_t> ids = end_tokens_in(directory + "/" + name);
    if (!ids.empty()) return ids;
  }
  const auto tokenizer = tokenizer_of(model);
  if (tokenizer == nullptr || !tokenizer->special_tokens().eos) return {};
  return {*tokenizer->special_tokens().eos};
}

Generated generate(const Model& model, const Encoding& prompt, const GenerateOptions& options) {
  if (!model.info().has_causal) {
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" without a causal head generates no text", model.info().name,
         model.info().model_type);
  }
  if (prompt.ids.empty()) fail(ErrorCode::kInvalidArgument, "the prompt has no tokens: there is nothing to continue");
  if (options.max_tokens < 0) fail(ErrorCode::kInvalidArgument, "max_tokens: expected 0 or more, found {}", options.max_tokens);
  for (const std::string& stop : options.stop_texts) {
    if (stop.empty()) fail(ErrorCode::kInvalidArgument, "stop_texts: an empty text would end every generation at once");
  }
  if (options.sampling) validate(*options.sampling);
  return Generation(model, prompt, options).run();
}

Generated generate(const Model& model, const std::vector<int32_t>& prompt, const GenerateOptions& options) {
  Encoding encoding;
  encoding.ids = prompt;
  encoding.type_ids.assign(prompt.size(), 0);
  encoding.offsets.assign(prompt.size(), {0, 0});
  encoding.segment.assign(prompt.size(), 0);
  return generate(model, encoding, options);
}

}  // namespace clearhead
