// Traces a text, in windows if it is long. Each window is a run of its own, and each token's row is taken from the window in which it
// has the most context. Either the rows of all windows fit the budget together, or nothing runs.
#include "models/trace_text.h"

#include <algorithm>
#include <limits>

#include "base/format.h"
#include "base/json.h"
#include "clearhead/tokenizer.h"
#include "models/input_kind.h"
#include "models/places.h"

namespace clearhead {
namespace {

Encoding encode(const Model& model, const TraceRequest& request) {
  if (input_kind(model.info()).has_target)
    fail(ErrorCode::kUnsupported, "{}: a model of type \"{}\" is an encoder-decoder; trace_of() traces its source and its target",
         model.info().name, model.info().model_type);
  if (request.input.text.empty()) fail(ErrorCode::kInvalidArgument, "the text is empty; pass a text, or --file, or - for standard input");
  EncodeOptions options;
  if (request.input.pair) options.pair = *request.input.pair;
  return model.tokenizer().encode(request.input.text, options);
}

// Special tokens before the first and after the last token of the text.
struct Margins {
  int64_t before = 0, after = 0;
};
Margins margins_of(const Encoding& encoding) {
  Margins margins;
  const int64_t count = static_cast<int64_t>(encoding.size());
  while (margins.before < count && encoding.is_special(static_cast<size_t>(margins.before))) ++margins.before;
  while (margins.after < count - margins.before && encoding.is_special(static_cast<size_t>(count - 1 - margins.after))) ++margins.after;
  return margins;
}

// Returns the tokens at these indices, in this order.
Encoding pick(const Encoding& whole, const std::vector<int64_t>& places) {
  Encoding out;
  for (const int64_t place : places) {
    const size_t at = static_cast<size_t>(place);
    out.ids.push_back(whole.ids[at]);
    out.type_ids.push_back(whole.type_ids[at]);
    out.offsets.push_back(whole.offsets[at]);
    out.segment.push_back(whole.segment[at]);
  }
  return out;
}

// The positions of the mask tokens.
std::vector<int32_t> masks_of(const Model& model, const Encoding& encoding) {
  const std::optional<int32_t> mask = model.tokenizer().special_tokens().mask;
  std::vector<int32_t> out;
  for (size_t id = 0; mask && id < encoding.ids.size(); ++id) {
    if (encoding.ids[id] == *mask) out.push_back(static_cast<int32_t>(id));
  }
  return out;
}

RunOptions options_of(const TraceRequest& request, Observer* observer) {
  RunOptions options;
  options.observer = observer;
  options.logits = request.logits;
  options.last_logits_only = true;
  options.text = request.input.text;
  options.pair = request.input.pair;
  options.interventions = request.interventions;
  return options;
}

void name_segments(RunPlan& plan, const TraceRequest& request) {
  for (const NamedBytes& segment : request.segments) {
    check_bytes(segment, request.input.text.size());
    const Range tokens = tokens_of_bytes(plan.text, segment.begin, segment.end);
    plan.text.segments.push_back({segment.name, segment.role, tokens.begin, tokens.end});
  }
}

// Throws if the request names tokens, rows or layers that do not exist. tokens: the number of tokens of one run.
void check_request(const TraceRequest& request, const RunPlan& plan, int64_t tokens) {
  check_ranges(request.options, plan);
  std::vector<MapFamily> of_run = plan.families;
  for (MapFamily& family : of_run) family.queries = family.keys = tokens;
  check_ranges(request.interventions, of_run);
}

// tokens: for each token of the window, its index in the text. owned: the rows, counted within the window, that are taken from it.
struct WindowPlan {
  std::vector<int64_t> tokens{};
  Range owned{};
};
std::vector<WindowPlan> plan_windows(int64_t count, Margins margins, int64_t window, int64_t overlap, bool causal) {
  const int64_t frame = margins.before + margins.after, room = window - frame, content = count - frame;
  if (room < 1 || overlap < 0 || overlap >= room) {
    fail(ErrorCode::kInvalidArgument,
         "--window {} with --overlap {} leaves no new token per window; the model adds {} special tokens to each", window, overlap, frame);
  }
  std::vector<WindowPlan> out;
  int64_t owned_from = 0;  // first content token that the next window owns
  for (int64_t begin = 0;; begin += room - overlap) {
    const int64_t end = std::min(content, begin + room);
    const bool first = begin == 0, last = end == content;
    WindowPlan plan;
    for (int64_t i = 0; i < margins.before; ++i) plan.tokens.push_back(i);
    for (int64_t i = begin; i < end; ++i) plan.tokens.push_back(margins.before + i);
    for (int64_t i = 0; i < margins.after; ++i) plan.tokens.push_back(count - margins.after + i);
    // Two neighbouring windows own half of their shared tokens each. With a causal model, the earlier window owns all of them: it gives
    // them the longer past.
    const int64_t owned_to = last ? content : end - (causal ? 0 : overlap / 2);
    plan.owned = {first ? 0 : margins.before + owned_from - begin, margins.before + owned_to - begin + (last ? margins.after : 0)};
    owned_from = owned_to;
    out.push_back(std::move(plan));
    if (last) return out;
  }
}

// Throws kBudget unless the rows of all windows fit the budget together. Memory is proportional to the number of tokens in the windows.
void check_windows_fit(const RunPlan& whole, const TraceRequest& request, const std::vector<WindowPlan>& plans) {
  TraceOptions everything = request.options;
  everything.budget_bytes = std::numeric_limits<uint64_t>::max();
  const TraceSize size = Trace::size_of(whole, everything);
  uint64_t tokens = 0;
  for (const WindowPlan& plan : plans) tokens += plan.tokens.size();
  const uint64_t needed = (size.keys + size.queries) / whole.text.ids.size() * tokens;
  if (needed <= request.options.budget_bytes) return;
  fail(ErrorCode::kBudget,
       "trace: keys and queries of {} windows of {} tokens need {}, but the budget is {}; use --budget to allow more, --layers to keep "
       "fewer "
       "layers, or --truncate",
       plans.size(), request.window, human_bytes(needed), human_bytes(request.options.budget_bytes));
}

TracedText trace_windows(const Model& model, const TraceRequest& request, const Encoding& encoding, const Margins margins) {
  if (request.input.pair) fail(ErrorCode::kUnsupported, "--window slides over one text; it cannot be used with --pair");
  if (request.logits)
    fail(ErrorCode::kUnsupported,
         "each window over a text has its own logits; to get logits, use a text that fits in one window of {} tokens", request.window);
  const int64_t longest = model.info().longest;
  if (longest > 0 && request.window > longest) {
    fail(ErrorCode::kTooLong, "--window {} is longer than this model's {} positions", request.window, longest);
  }
  const int64_t count = static_cast<int64_t>(encoding.size());
  const std::vector<WindowPlan> plans =
      plan_windows(count, margins, request.window, request.overlap.value_or(request.window / 4), model.info().causal);
  RunPlan whole = plan_of(model, encoding, options_of(request, nullptr));
  check_request(request, whole, request.window);
  check_windows_fit(whole, request, plans);
  std::vector<Trace> traces;
  std::vector<Trace::Window> windows;
  traces.reserve(plans.size());
  for (const WindowPlan& plan : plans) {
    traces.emplace_back(request.options);
    TraceRequest part = request;
    part.segments.clear();
    ProgressObserver observer(&traces.back(), request.progress, request.cancel, static_cast<int64_t>(windows.size()),
                              static_cast<int64_t>(plans.size()));
    model.run(pick(encoding, plan.tokens), options_of(part, &observer));
    windows.push_back({&traces.back(), plan.tokens, plan.owned});
  }
  name_segments(whole, request);
  return {
      .trace = Trace::from_windows(std::move(whole), windows), .tokens = count, .cut = 0, .windows = static_cast<int64_t>(plans.size())};
}

}  // namespace

void check_bytes(const NamedBytes& segment, size_t size) {
  if (segment.begin >= 0 && segment.begin <= segment.end && segment.end <= static_cast<int64_t>(size)) return;
  fail(ErrorCode::kInvalidArgument, "segments: \"{}\" covers bytes [{}, {}), but the text has {} bytes", segment.name, segment.begin,
       segment.end, size);
}

Range tokens_of_bytes(const RunText& text, int64_t begin, int64_t end) {
  Range out{-1, -1};
  for (size_t i = 0; i < static_cast<size_t>(text.tokens()); ++i) {
    const auto [from, to] = text.offsets[i];
    if (text.special[i] || to <= begin || from >= end) continue;
    if (out.begin < 0) out.begin = static_cast<int64_t>(i);
    out.end = static_cast<int64_t>(i) + 1;
  }
  return out.begin < 0 ? Range{0, 0} : out;
}

std::vector<NamedBytes> segments_from_json(const std::string& json, const std::string& where) {
  std::vector<NamedBytes> out;
  const Json parsed = Json::parse(json, where);
  if (!parsed.is_array()) fail(ErrorCode::kFormat, "{}: expected an array of segments, found {}", where, parsed.describe());
  for (const Json& item : parsed.items()) {
    Fields fields(item, where, format("segments[{}]", out.size()));
    out.push_back({fields.string_or("name", ""), fields.string_or("role", ""), fields.integer("begin"), fields.integer("end")});
    fields.refuse_rest();
  }
  return out;
}

Encoding truncated_to(const Encoding& whole, int64_t longest) {
  const int64_t count = static_cast<int64_t>(whole.size()), after = std::min(margins_of(whole).after, longest);
  if (longest == 0 || count <= longest) return whole;
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < longest - after; ++i) kept.push_back(i);
  for (int64_t i = count - after; i < count; ++i) kept.push_back(i);
  return pick(whole, kept);
}

RunPlan plan_text(const Model& model, const TraceRequest& request) {
  RunPlan plan = plan_of(model, encode(model, request), options_of(request, nullptr));
  name_segments(plan, request);
  return plan;
}

TracedText trace_text(const Model& model, const TraceRequest& request) {
  Encoding encoding = encode(model, request);
  const Margins margins = margins_of(encoding);
  const int64_t count = static_cast<int64_t>(encoding.size()), longest = model.info().longest;
  if (request.window > 0 && count > request.window) return trace_windows(model, request, encoding, margins);
  TracedText out{.trace = Trace(request.options), .tokens = count};
  if (longest > 0 && count > longest) {
    if (!request.truncate) {
      fail(ErrorCode::kTooLong,
           "the text has {} tokens, but the model supports {} positions; use --window {}, --truncate, or a model with more "
           "positions",
           with_commas(count), with_commas(longest), longest);
    }
    encoding = truncated_to(encoding, longest);
    out.cut = count - longest;
  }
  check_request(request, plan_of(model, encoding, options_of(request, nullptr)), static_cast<int64_t>(encoding.size()));
  ProgressObserver observer(request.keep ? &out.trace : nullptr, request.progress, request.cancel);
  RunOptions options = options_of(request, &observer);
  if (std::vector<int32_t> masks; request.logits && model.info().has_masked) {
    masks = masks_of(model, encoding);
    options.logits = !masks.empty() || model.info().has_classifier;
    if (!masks.empty()) options.masked_rows = std::move(masks);
  }
  out.result = model.run(encoding, options);
  if (!request.keep) return out;
  RunPlan named = out.trace.plan();
  name_segments(named, request);
  if (!request.segments.empty()) out.trace.set_segments(named.text.segments);
  return out;
}

}  // namespace clearhead
