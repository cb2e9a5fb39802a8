// Maps request paths to questions. One answer: info, text, rows, columns, tiles, mass, statistics, checks and exports. Streams: overview,
// atlas, comparisons, run, why and what-if. Progress is sent at most ten times a second.
#include "viewer/api.h"

#include <chrono>

#include "base/format.h"
#include "viewer/export.h"
#include "viewer/figure/pdf.h"
#include "viewer/figure/posted.h"
#include "viewer/opening.h"
#include "viewer/questions/atlas.h"
#include "viewer/questions/compare.h"
#include "viewer/questions/head_pictures.h"
#include "viewer/questions/info.h"
#include "viewer/questions/lines.h"
#include "viewer/questions/mass.h"
#include "viewer/questions/neurons.h"
#include "viewer/questions/ranges.h"
#include "viewer/questions/text.h"
#include "viewer/questions/tiles.h"
#include "viewer/questions/verify.h"
#include "viewer/questions/what_if.h"
#include "viewer/questions/why.h"

namespace clearhead::viewer {
namespace {

constexpr const char* kFrame = "application/vnd.clearhead.frame";
constexpr const char* kFrames = "application/vnd.clearhead.frames";
constexpr int64_t kLongest = int64_t{1} << 40;

bool as_json(const ApiRequest& request) { return QueryParameters(request.query).choice("format", {"frame", "json"}) == 1; }

ApiAnswer frame_answer(const ViewFrame& frame, const ApiRequest& request) {
  if (as_json(request)) return {.body = frame.json()};
  return {.type = kFrame, .body = frame.binary()};
}

ApiAnswer json_answer(const Json& json) { return {.body = json.dump()}; }

LineLook line_of(const QueryParameters& query, const char* ranges) {
  LineLook look;
  look.at = query.head();
  look.ranges = query.ranges(ranges);
  look.mean = query.choice("reduce", {"sum", "mean"}) == 1;
  look.top = query.integer("top", 8, 0, 1024);
  look.profile = query.integer("profile", 0, 0, 65'536);
  look.words = query.flag("words");
  const std::string values = query.text("values");
  if (values == "all") {
    look.values = {0, LineLook::kAll};
  } else if (!values.empty()) {
    const std::vector<Range> range = parse_ranges(values, "values");
    if (range.size() != 1) fail(ErrorCode::kInvalidArgument, "values: expected one range or \"all\", found \"{}\".", values);
    look.values = range[0];
  }
  return look;
}

// axes=offset: columns are key − query, from back=N before to ahead=N after; by default the band that questions::offset_columns_of() gives
// for the layer.
std::optional<OffsetColumns> offset_columns_of(LoadedTrace& loaded, const QueryParameters& query) {
  if (query.choice("axes", {"key", "offset"}) == 0) return std::nullopt;
  const HeadLook at = query.head();
  const OffsetColumns own = questions::offset_columns_of(loaded, at);
  constexpr int64_t kFarthest = int64_t{1} << 20;
  return OffsetColumns{query.integer("back", own.back, 0, kFarthest), query.integer("ahead", own.ahead, 0, kFarthest)};
}

TileLook tile_of(LoadedTrace& loaded, const QueryParameters& query) {
  TileLook look;
  look.near = offset_columns_of(loaded, query);
  look.column_z = static_cast<int>(query.integer("zx", 0, 0, 40));
  look.at = query.head();
  look.z = static_cast<int>(query.integer("z", 0, 0, 40));
  look.x = query.integer("x", 0, 0, kLongest);
  look.y = query.integer("y", 0, 0, kLongest);
  const size_t pool = query.choice("pool", {"both", "max", "mean"});
  look.planes = {.max = pool != 2, .mean = pool != 1, .f32 = query.choice("dtype", {"u8", "f32"}) == 1};
  look.exact = query.flag("exact");
  return look;
}

ApiAnswer text_answer(LoadedTrace& loaded, const ApiRequest& request, const QueryParameters& query) {
  const int side = static_cast<int>(query.integer("side", 0, 0, 1'000));
  const int64_t tokens = static_cast<int64_t>(loaded.trace().plan().text.ids.size());
  const Range range{query.integer("from", 0, 0, tokens), query.integer("to", tokens, 0, tokens)};
  return frame_answer(questions::text(loaded, side, range), request);
}

// Makes a PDF of a figure that the page has laid out.
ApiAnswer pdf_answer(const ApiRequest& request, const AloneOptions& options) {
  const auto deadline = std::chrono::steady_clock::now() + options.time;
  const figure::Drawing drawing = figure::drawing_from_json(Json::parse(request.body, "api/pdf"));
  const auto check = [&](size_t drawn) {
    if (options.cancel && options.cancel->load()) fail(ErrorCode::kCancelled, "api/pdf: the request was cancelled");
    if (std::chrono::steady_clock::now() < deadline) return;
    fail(ErrorCode::kCancelled, "api/pdf: stopped after {} s with {} of {} marks drawn; show fewer words or cells, or write SVG",
         options.time.count(), drawn, drawing.marks.size());
  };
  return {.type = "application/pdf", .body = figure::pdf(drawing, check)};
}

// Two heads to compare: f, l and h of the first; with_f, with_l and with_h of the second, which default to those of the first.
CompareLook compare_look_of(const QueryParameters& query) {
  CompareLook look;
  const HeadLook at = query.head();
  look.before = {at.family, at.layer, at.head};
  const std::string family = query.text("with_f");
  look.after = {family.empty() ? at.family : family, static_cast<int>(query.index("with_l", at.layer)), query.index("with_h", at.head)};
  const auto range = [&](const char* name) -> std::optional<Range> {
    if (query.text(name).empty()) return std::nullopt;
    const std::vector<Range> ranges = query.ranges(name);
    if (ranges.size() != 1) fail(ErrorCode::kInvalidArgument, "{}: expected one range, found \"{}\".", name, query.text(name));
    return ranges[0];
  };
  look.rows = range("rows");
  look.columns = range("columns");
  look.exact = query.flag("exact");
  return look;
}

// A page that shows a text other than the server's current one must not get numbers of the current one.
void check_text(const LoadedTrace& loaded, const QueryParameters& query) {
  const std::string id = query.text("id");
  if (!id.empty() && id != loaded.id())
    fail(ErrorCode::kStale, "This page shows a text that the server no longer has, because another window ran a new one: reload the page.");
}

// One frame of a stream in the requested format.
std::string chunk_of(const ApiRequest& request, const ViewFrame& frame) {
  return as_json(request) ? frame.json() + "\n" : with_length(frame.binary());
}

ViewFrame event_frame(Json header) {
  ViewFrame frame;
  frame.header = std::move(header);
  return frame;
}

std::string sse(const char* event, const Json& data) { return format("event: {}\ndata: {}\n\n", event, data.dump()); }

Json error_json(const std::exception& error) {
  const Error* known = dynamic_cast<const Error*>(&error);
  Json out = Json::object({{"code", known ? to_string(known->code()) : "kIo"}, {"message", error.what()}});
  if (const NotKept* not_kept = dynamic_cast<const NotKept*>(&error)) out["command"] = not_kept->command();
  return Json::object({{"error", out}});
}

// Sends progress at most ten times a second, but calls the caller's own progress function every time.
class ProgressThrottle {
 public:
  ProgressThrottle(const LookOptions& options, std::function<void(double)> tell) : options_(options), tell_(std::move(tell)) {}
  LookOptions watched() {
    LookOptions own = options_;
    own.progress = [this](double done) {
      if (options_.progress) options_.progress(done);
      const auto now = std::chrono::steady_clock::now();
      if (now - last_ < std::chrono::milliseconds(100)) return;
      last_ = now;
      tell_(done);
    };
    return own;
  }

 private:
  const LookOptions& options_;
  std::function<void(double)> tell_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

void run_events(LoadedTrace& loaded, const ApiRequest& request, const std::function<void(std::string)>& emit, const LookOptions& options) {
  const Json body = Json::parse(request.body, "api/run");
  Fields fields(body, "api/run");
  const std::string text = fields.string_or("text", "");
  std::optional<std::string> pair;
  if (const Json* second = body.find("pair"); second && !second->is_null()) pair = fields.string("pair");
  loaded.run(
      text, pair,
      [&](double done, const std::string& what) {
        emit(sse("progress", Json::object({{"done", done}, {"what", what}})));
      },
      options.cancel);
  std::string state;
  try {
    state = opening_state(loaded);
  } catch (const Error&) {
    // The text has been read. Without a state, the page chooses what it shows.
  }
  emit(sse("done", Json::object({{"id", loaded.id()}, {"state", state}})));
}

// Sends progress events at most ten times a second, and whenever the description changes.
class ProgressEvents {
 public:
  explicit ProgressEvents(const std::function<void(std::string)>& emit) : emit_(emit) {}
  void operator()(double done, const std::string& what) {
    const auto now = std::chrono::steady_clock::now();
    if (what == said_ && now - last_ < std::chrono::milliseconds(100)) return;
    last_ = now;
    said_ = what;
    emit_(sse("progress", Json::object({{"done", done}, {"what", what}})));
  }

 private:
  const std::function<void(std::string)>& emit_;
  std::string said_{};
  std::chrono::steady_clock::time_point last_{};
};

void answer_events(LoadedTrace& loaded, const ApiRequest& request, const std::function<void(std::string)>& emit,
                   const LookOptions& options) {
  if (request.path == "run") return run_events(loaded, request, emit, options);
  check_text(loaded, QueryParameters(request.query));
  const Json body = Json::parse(request.body, "api/" + request.path);
  const auto tell = [teller = std::make_shared<ProgressEvents>(emit)](double done, const std::string& what) { (*teller)(done, what); };
  if (request.path == "why") {
    const auto say_cost = [&](const Json& cost) { emit(sse("cost", cost)); };
    return emit(sse("done", questions::why(loaded, why_look_of(body), {.cost = say_cost, .progress = tell, .cancel = options.cancel})));
  }
  emit(sse("done", questions::what_if(loaded, what_if_look_of(body), tell, options.cancel)));
}

}  // namespace

ApiKind kind_of(const ApiRequest& request) {
  const std::string& path = request.path;
  if (path == "tile") return request.query.count("exact") > 0 ? ApiKind::kLong : ApiKind::kOnce;
  for (const char* once : {"info", "text", "picture", "segments", "row", "col", "mass", "neurons", "aligned"}) {
    if (path == once) return ApiKind::kOnce;
  }
  if (path == "pdf") return ApiKind::kAlone;
  for (const char* longer : {"verify", "export"}) {
    if (path == longer) return ApiKind::kLong;
  }
  if (path == "stats") return ApiKind::kDeferrable;
  if (path == "overview" || path == "compare" || path == "compare-heads") return ApiKind::kStream;
  if (path == "atlas") return ApiKind::kBackground;
  if (path == "run" || path == "why" || path == "what-if") return ApiKind::kEvents;
  return ApiKind::kNone;
}

ApiKind checked_kind_of(const ApiRequest& request) {
  const std::string& path = request.path;
  const ApiKind kind = kind_of(request);
  if (kind == ApiKind::kNone) fail(ErrorCode::kNotFound, "api/{}: no such endpoint.", path);
  const bool wants_post = path == "mass" || path == "verify" || path == "run" || path == "pdf" || path == "why" || path == "what-if";
  if (wants_post != request.post) fail(ErrorCode::kInvalidArgument, "api/{}: expected a {}.", path, wants_post ? "POST" : "GET");
  return kind;
}

ApiAnswer answer(LoadedTrace& loaded, const ApiRequest& request, const LookOptions& options, LoadedTrace* other) {
  const QueryParameters query(request.query);
  const std::string& path = request.path;
  check_text(loaded, query);
  if (path == "info") return json_answer(questions::info(loaded));
  if (path == "text") return text_answer(loaded, request, query);
  if (path == "picture") return frame_answer(questions::picture(loaded, query.integer("items", 0, 0, kLongest)), request);
  if (path == "segments") return json_answer(questions::segments(loaded, static_cast<int>(query.integer("side", 0, 0, 1'000))));
  if (path == "row") return frame_answer(questions::row(loaded, line_of(query, "q"), options), request);
  if (path == "col") return frame_answer(questions::column(loaded, line_of(query, "k"), options), request);
  if (path == "stats") return frame_answer(questions::stats(loaded, query.head(), query.integer("bins", 512, 1, 65'536), options), request);
  if (path == "tile") return frame_answer(questions::tile(loaded, tile_of(loaded, query), options), request);
  if (path == "neurons") {
    const std::vector<Range> queries = query.ranges("q");
    if (questions::count_of(queries) != 1) fail(ErrorCode::kInvalidArgument, "q: expected one query, found \"{}\".", query.text("q"));
    const int64_t keys = query.integer("keys", 16, 1, NeuronLook::kMostKeys);
    return frame_answer(questions::neurons(loaded, {.at = query.head(), .query = queries[0].begin, .keys = keys}), request);
  }
  if (path == "mass") return frame_answer(questions::mass(loaded, mass_look_of(Json::parse(request.body, "api/mass")), options), request);
  if (path == "verify") return json_answer(questions::verify(loaded, verify_look_of(Json::parse(request.body, "api/verify")), options));
  if (path == "aligned") return frame_answer(questions::aligned_places(loaded, other ? *other : loaded), request);
  if (path == "export") {
    ExportedFile file = export_file(loaded, query.text("kind"), query.text("state"), query.text("budget"), options);
    return {.type = file.type, .body = std::move(file.bytes), .filename = file.name};
  }
  fail(ErrorCode::kNotFound, "api/{}: no such endpoint.", path);
}

ApiAnswer answer_alone(const ApiRequest& request, const AloneOptions& options) {
  if (request.path == "pdf") return pdf_answer(request, options);
  fail(ErrorCode::kNotFound, "api/{}: no such endpoint.", request.path);
}

const char* stream_type(const ApiRequest& request) {
  if (kind_of(request) == ApiKind::kEvents) return "text/event-stream";
  return as_json(request) ? "application/x-ndjson" : kFrames;
}

void stream(LoadedTrace& loaded, const ApiRequest& request, const std::function<void(std::string chunk)>& emit, const LookOptions& options,
            LoadedTrace* other) {
  if (kind_of(request) == ApiKind::kEvents) return answer_events(loaded, request, emit, options);
  const QueryParameters query(request.query);
  check_text(loaded, query);
  const auto take = [&](const ViewFrame& frame) { emit(chunk_of(request, frame)); };
  ProgressThrottle teller(options, [&](double done) { take(event_frame(Json::object({{"event", "progress"}, {"done", done}}))); });
  if (request.path == "overview") {
    questions::overview(loaded, query.head(), offset_columns_of(loaded, query), take, teller.watched());
  } else if (request.path == "atlas") {
    const HeadLook under = query.head();
    if (under.weight == WeightKind::kRaw) {
      questions::atlas(loaded, under.family, take, teller.watched());
    } else {
      questions::atlas_under(loaded, under, take, teller.watched());
    }
  } else if (request.path == "compare") {
    questions::compare(loaded, other ? *other : loaded, compare_look_of(query), take, teller.watched());
  } else if (request.path == "compare-heads") {
    questions::compare_heads(loaded, other ? *other : loaded, compare_look_of(query), take, teller.watched());
  } else {
    fail(ErrorCode::kNotFound, "api/{}: no such endpoint.", request.path);
  }
  take(event_frame(Json::object({{"event", "done"}})));
}

std::string error_chunk(const ApiRequest& request, const std::exception& error) {
  Json body = error_json(error);
  if (kind_of(request) == ApiKind::kEvents) return sse("error", body);
  body["event"] = "error";
  return chunk_of(request, event_frame(std::move(body)));
}

ApiAnswer answer_error(const std::exception& error) {
  ApiAnswer out{.status = 500, .body = error_json(error).dump()};
  if (const Error* known = dynamic_cast<const Error*>(&error)) {
    switch (known->code()) {
      case ErrorCode::kInvalidArgument:
      case ErrorCode::kShape:
      case ErrorCode::kFormat:
      case ErrorCode::kTooLong: out.status = 400; break;
      case ErrorCode::kNotFound: out.status = 404; break;
      case ErrorCode::kUnsupported:
      case ErrorCode::kStale:
      case ErrorCode::kBudget: out.status = 409; break;
      case ErrorCode::kCancelled: out.status = 503; break;
      case ErrorCode::kIo: break;
    }
  }
  return out;
}

ApiAnswer answer_refusal(int status, const std::string& code, const std::string& message) {
  const Json error = Json::object({{"code", code}, {"message", message}});
  return {.status = status, .body = Json::object({{"error", error}}).dump()};
}

}  // namespace clearhead::viewer
